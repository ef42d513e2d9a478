"""The ML environment's jobs: the only code that imports torch and the quantizers."""

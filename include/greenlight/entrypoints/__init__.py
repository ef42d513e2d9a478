"""What DAG tasks and the command line call: builds adapters, decides nothing."""

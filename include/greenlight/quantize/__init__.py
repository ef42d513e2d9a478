"""Make a model smaller and decide, with statistics, whether it still answers as well."""

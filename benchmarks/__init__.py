"""Where the claims of the README are measured. `python -m benchmarks --help`."""

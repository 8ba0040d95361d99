"""Where the claims of docs/results.md are measured. `python -m benchmarks --help`."""

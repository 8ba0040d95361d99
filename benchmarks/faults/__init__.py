"""What breaks in real use, replayed: `python -m benchmarks faults NAME`. A module per kind, each with `replay`."""

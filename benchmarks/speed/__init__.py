"""How fast the inner loop is: `python -m benchmarks speed`. Ratios on one machine in one run, against stated bars."""

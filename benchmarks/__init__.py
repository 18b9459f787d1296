"""What smartrelay costs beside its rivals and beside bare Python, measured in one run: `python -m benchmarks`."""

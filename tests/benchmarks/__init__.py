"""Benchmarks on real parts: `python -m tests.benchmarks`. What each measures stands in `README.md`."""

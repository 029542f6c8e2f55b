"""Benchmarks: ``python -m benchmarks.generate``."""

"""Measured figures: `python -m benchmarks.NAME` prints them. Never run by the tests."""

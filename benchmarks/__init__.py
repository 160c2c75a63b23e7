"""Benchmarks: `python -m benchmarks.NAME` prints figures. The tests never run them."""

"""Benchmarks, which are run by hand: ``python -m tests.benchmarks.<name>``."""

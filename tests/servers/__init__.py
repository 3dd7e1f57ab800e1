"""Brokers for tests: ordinary child processes, each owned and ended by who started it."""

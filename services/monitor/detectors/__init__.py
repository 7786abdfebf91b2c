"""Streaming detectors: bounded memory, microseconds a point, one algorithm a file."""

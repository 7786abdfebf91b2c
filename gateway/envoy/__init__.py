"""Envoy: its resources as pure functions, the folder they are written to, its admin port, its process."""

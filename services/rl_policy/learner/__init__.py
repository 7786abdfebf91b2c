"""Learning: a process of its own that reads transitions and publishes versions."""

"""Training and evaluation, in a process of their own beside the one that serves."""

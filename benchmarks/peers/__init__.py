"""What users would pick instead, each in an environment of its own that `make bench-peers` builds once."""

"""What acts: immutable weights of one version over numpy alone."""

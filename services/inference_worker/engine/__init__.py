"""The engine: the process that owns a device. Token ids in, tokens and vectors out, over one pipe."""

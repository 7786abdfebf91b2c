"""The worker: token ids in, tokens and vectors out, over gRPC, with one engine process a device."""

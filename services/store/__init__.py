"""Model sources, digests, the cache and the catalogue. Imports no torch, no transformers and no grpc."""

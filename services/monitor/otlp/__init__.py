"""The way in: OTLP by gRPC, decoded into points and spans."""

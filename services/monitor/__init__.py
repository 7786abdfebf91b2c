"""What the mesh is doing: metrics and traces in, the live picture, Prometheus and traces out."""

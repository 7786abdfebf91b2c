"""What all services share: server, channels, errors, telemetry, settings, supervised children."""

import os

# gRPC's core writes each refused port and lost connection to stderr in a form of its own; what matters of it
# comes back as an exception, and is logged or answered as one. The core reads this when it starts.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

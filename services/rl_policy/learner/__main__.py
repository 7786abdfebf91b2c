"""`python -m services.rl_policy.learner`: learns one policy, started by the service that acts."""

from __future__ import annotations

import argparse
import os
import socket

from services.kit import logs
from services.kit.logs import LogFormat, LogLevel
from services.rl_policy.learner import worker
from services.rl_policy.learner.frames import Pipe


def main() -> None:
    """Learn until the pipe closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipe", type=int, required=True, help="file descriptor of a stream socket")
    arguments = parser.parse_args()

    logs.configure(
        LogLevel(os.environ.get("TRUNKLINE_LOG_LEVEL") or LogLevel.INFO),
        LogFormat(os.environ.get("TRUNKLINE_LOG_FORMAT") or LogFormat.AUTO),
    )
    os.nice(10)  # acting goes first, also where cores are few
    try:
        worker.serve(Pipe(socket.socket(fileno=arguments.pipe)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the service has gone


if __name__ == "__main__":
    main()

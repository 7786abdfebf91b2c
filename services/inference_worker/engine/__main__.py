"""`python -m services.inference_worker.engine`: the engine of one device, started by its worker."""

from __future__ import annotations

import argparse
import os
import socket

from services.inference_worker.engine.backends import DeviceBackend
from services.inference_worker.engine.link import Link
from services.inference_worker.engine.loop import Loop
from services.kit import logs
from services.kit.logs import LogFormat, LogLevel


def main() -> None:
    """Serve the pipe until it closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipe", type=int, required=True, help="file descriptor of a stream socket")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the one that is visible")
    parser.add_argument("--threads", type=int, default=0, help="threads of a matrix product; 0: one a core")
    arguments = parser.parse_args()

    logs.configure(
        LogLevel(os.environ.get("TRUNKLINE_LOG_LEVEL") or LogLevel.INFO),
        LogFormat(os.environ.get("TRUNKLINE_LOG_FORMAT") or LogFormat.AUTO),
    )
    link = Link(socket.socket(fileno=arguments.pipe))
    Loop(link, DeviceBackend(arguments.device, arguments.threads)).run()


if __name__ == "__main__":
    main()

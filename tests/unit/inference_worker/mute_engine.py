"""An engine that takes commands and never answers: `python -m tests.unit.inference_worker.mute_engine`."""

from __future__ import annotations

import argparse
import os
import socket

from services.inference_worker.engine.link import Link, LinkClosed
from services.inference_worker.wire import Started

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe", type=int)
    arguments, _ = parser.parse_known_args()
    link = Link(socket.socket(fileno=arguments.pipe))
    try:
        link.send(Started(os.getpid()))
        while True:
            link.receive(block=True)
    except LinkClosed:
        pass

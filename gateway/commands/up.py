"""`trunkline up`: the whole mesh in the foreground, on this machine."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from services.kit.command import Command, CommandError

if TYPE_CHECKING:
    from gateway.commands.plan import UpSettings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_count, metavar="N", help="how many (default: TRUNKLINE_WORKERS)")
    parser.add_argument("--port", type=_count, metavar="PORT", help="public port (default: TRUNKLINE_PUBLIC)")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="descriptor to write a line to when ready")


def _count(text: str) -> int:
    value = int(text)
    if not 0 < value < 65_536:
        raise ValueError(text)
    return value


def _run(arguments: argparse.Namespace) -> int:
    """Start the mesh, and stop it on Ctrl-C, SIGTERM or SIGHUP; returns 0 then."""
    import asyncio

    from gateway.commands.launch import launch
    from gateway.commands.reporter import reporter

    def announce() -> None:
        if arguments.ready_fd is not None:
            os.write(arguments.ready_fd, b"ready\n")

    asyncio.run(launch(_settings(arguments), reporter(as_json=arguments.json), announce))
    return 0


def _settings(arguments: argparse.Namespace) -> UpSettings:
    from dataclasses import replace

    from gateway.commands.plan import UpSettings
    from services.kit.settings import read

    settings = read(UpSettings)
    if arguments.port:
        host = settings.public.rpartition(":")[0]
        settings = replace(settings, public=f"{host}:{arguments.port}")
    if arguments.workers:
        settings = settings.with_workers(arguments.workers)
    if not settings.models:
        raise CommandError("TRUNKLINE_MODELS is empty: name at least one model.")
    return settings


UP = Command("up", "start the mesh on this machine; Ctrl-C drains and stops it", _add_arguments, _run)

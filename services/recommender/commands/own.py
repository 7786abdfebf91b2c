"""A recommender of one's own for as long as a command needs one: empty, in a folder that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from services.kit import launcher
from services.kit.command import CommandError
from services.kit.transport import client_options

READY_SECONDS = 120.0
STOP_SECONDS = 30.0


@contextmanager
def own_recommender() -> Iterator[grpc.Channel]:
    """Start one, yield a channel to it, stop it. Raises CommandError where it does not get ready."""
    with TemporaryDirectory(prefix="trunkline-recommender-") as name:
        folder = Path(name)
        address = f"unix:{folder / 'socket'}"
        with (
            (folder / "log").open("w+") as log,
            _process(folder, address, log.fileno()),
            grpc.insecure_channel(address, options=client_options()) as channel,
        ):
            try:
                grpc.channel_ready_future(channel).result(READY_SECONDS)
            except grpc.FutureTimeoutError:
                log.seek(0)
                said = log.read()[-2_000:].strip()
                raise CommandError(f"The recommender did not get ready: {said}") from None
            yield channel


@contextmanager
def _process(folder: Path, address: str, log: int) -> Iterator[subprocess.Popen[bytes]]:
    dies_with_us = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid())]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OTEL_"))}
    own = {"TRUNKLINE_LISTEN": address, "TRUNKLINE_STATE": str(folder), "TRUNKLINE_MONITOR": ""}
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*dies_with_us, sys.executable, "-P", "-m", "services.recommender"],
        env=kept | own,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

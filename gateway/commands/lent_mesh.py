"""A mesh for as long as a command needs one: the one that answers already, or one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.commands.launch import dialled
from gateway.commands.plan import UpSettings
from services.kit import launcher
from services.kit.command import CommandError, answers, public_address
from services.kit.settings import read

STOP_SECONDS = 60.0


@contextmanager
def lent_mesh(*, quiet: bool) -> Iterator[bool]:
    """Have a mesh that is ready at the public address; yields whether it had to be started.

    Where TRUNKLINE_ADDRESS says nothing, the address is the one at which `trunkline up` would listen. A mesh
    that was started shows its progress (`quiet`: on standard error), is stopped at the end, and dies with
    this process however that ends. Raises CommandError when it does not get ready.
    """
    settings = read(UpSettings)
    # For every command that this one calls in this process.
    os.environ.setdefault("TRUNKLINE_ADDRESS", dialled(settings.public))
    os.environ.setdefault("TRUNKLINE_OPERATOR_ADDRESS", dialled(settings.operators))
    if answers(public_address()) or public_address() != dialled(settings.public):
        yield False
        return
    with _started(quiet=quiet):
        yield True


@contextmanager
def _started(*, quiet: bool) -> Iterator[None]:
    heard, told = os.pipe()
    dies_with_us = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid())]
    up = subprocess.Popen(  # noqa: S603 - our own command
        [*dies_with_us, sys.executable, "-P", "-m", "gateway.cli", "up", "--ready-fd", str(told)],
        pass_fds=(told,),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if quiet else None,
        start_new_session=True,  # Ctrl-C is for this process, which then stops the mesh in order
    )
    os.close(told)
    try:
        with os.fdopen(heard) as ready:
            if not ready.readline():
                raise CommandError("The mesh did not get ready; what `trunkline up` said of it stands above.")
        yield
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS)

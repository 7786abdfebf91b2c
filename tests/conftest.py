"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take signals as from a terminal: a shell starts what it puts into the background deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

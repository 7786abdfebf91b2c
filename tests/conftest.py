"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Nothing is timed, and a run is the run before: examples follow from the test alone.
settings.register_profile(
    "trunkline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("trunkline")


def pytest_configure() -> None:
    """Take signals as from a terminal: a shell starts what it puts into the background deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

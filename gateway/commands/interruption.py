"""Ctrl-C during a call: the call is cancelled, and only then is anybody interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc


@contextmanager
def cancelled_by_ctrl_c(call: Any) -> Iterator[None]:
    """Let Ctrl-C cancel `call` while the block reads from it; KeyboardInterrupt is raised where that ends.

    Raised in the midst of gRPC's own code, as Python has it, KeyboardInterrupt now and then leaves the
    channel in a state in which its next call waits for ever. A second Ctrl-C is raised at once.
    """
    interrupted = threading.Event()

    def cancel(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)
        # Not here: a signal handler runs inside of whatever the main thread is doing.
        threading.Thread(target=call.cancel).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    except grpc.RpcError:
        if not interrupted.is_set():
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted.is_set():
        raise KeyboardInterrupt

"""What every computation in torch is wrapped in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from services.inference_worker.engine.runner import DeviceLost


@contextmanager
def computing() -> Iterator[None]:
    """Compute without gradients; raises DeviceLost when the device is lost to this process."""
    try:
        with torch.inference_mode():
            yield
    except torch.AcceleratorError as error:
        raise DeviceLost(str(error)) from error

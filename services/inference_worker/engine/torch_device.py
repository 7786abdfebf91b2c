"""What every computation in torch is wrapped in, and memory that is taken as it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from services.inference_worker.engine.runner import DeviceLost


@contextmanager
def computing() -> Iterator[None]:
    """Compute without gradients; raises DeviceLost when the device is lost to this process."""
    try:
        with torch.inference_mode():
            yield
    except torch.AcceleratorError as error:
        raise DeviceLost(str(error)) from error


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros; of a large cache on a processor only what has been written is in memory.

    torch's own would write all of them: 3 GB for 65,536 tokens of a small model in float32.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    numbers = np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(numbers).view(dtype).view(shape)

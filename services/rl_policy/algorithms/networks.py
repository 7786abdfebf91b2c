"""The networks that learn: torch's layers, set and read as the arrays that act.

They are set from numpy's generator, so that a seed gives the same network whatever torch's generators have
been used for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from services.rl_policy.algorithms.algorithm import Array, Diverged, Floats

TINY = torch.finfo(torch.float32).min
"""What stands for minus infinity: finite, so that nothing times 0 is NaN."""

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(
    sizes: Sequence[int], activation: str, random: np.random.Generator, gains: tuple[float, float] | None
) -> nn.Sequential:
    """Return layers of these sizes.

    `gains`: orthogonal weights with the first gain, the last layer with the second, biases 0 (Saxe et al.,
    2014). None: uniform within the inverse root of a layer's inputs, as torch does it.
    """
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        linear = nn.Linear(inputs, outputs)
        last = index == len(sizes) - 2
        _set(linear, random, None if gains is None else gains[last])
        layers += [linear] if last else [linear, _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def arrays(network: nn.Sequential, name: str) -> dict[str, Array]:
    """Return the weights as `policies.mlp.Mlp.of` reads them: inputs by outputs."""
    parts = {}
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    for index, layer in enumerate(linears):
        parts[f"{name}.{index}.weight"] = layer.weight.detach().numpy().T.copy()
        parts[f"{name}.{index}.bias"] = layer.bias.detach().numpy().copy()
    return parts


def adam(parameters: Iterable[nn.Parameter], **options: Any) -> torch.optim.Adam:
    """Return Adam (Kingma, Ba, 2015) as one kernel; its rate is set before each step."""
    return torch.optim.Adam(list(parameters), lr=1e-3, fused=True, **options)


def step(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float, max_norm: float) -> float:
    """Make one step down the loss; return it. Raises Diverged, changing nothing, where it is not finite."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    value = loss.item()
    if not (np.isfinite(value) and bool(torch.isfinite(norm))):
        raise Diverged(f"the loss is {value} and its gradient's norm {norm.item()}")
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return value


def saved(name: str, module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Array]:
    """Return all numbers of a network and its optimiser, by name."""
    parts = {f"{name}.{key}": value.numpy().copy() for key, value in module.state_dict().items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                parts[f"{name}.optimizer.{index}.{key}"] = torch.as_tensor(value).numpy().copy()
    return parts


def load(
    name: str, state: Mapping[str, Any], module: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Set a network and its optimiser to what `saved` returned."""
    weights = {key: torch.from_numpy(np.array(state[f"{name}.{key}"])) for key in module.state_dict()}
    module.load_state_dict(weights)
    if optimizer is None:
        return
    prefix = f"{name}.optimizer."
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith(prefix):
            index, _, moment = key.removeprefix(prefix).partition(".")
            moments.setdefault(int(index), {})[moment] = torch.from_numpy(np.array(value))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def tensor(array: Array) -> Tensor:
    """Return float32 numbers as a tensor, without a copy where they are float32 already."""
    numbers: Floats = np.ascontiguousarray(array, np.float32)
    return torch.from_numpy(numbers)


def _set(linear: nn.Linear, random: np.random.Generator, gain: float | None) -> None:
    shape = linear.weight.shape
    with torch.no_grad():
        if gain is None:
            bound = 1.0 / np.sqrt(shape[1])
            linear.weight.copy_(torch.from_numpy(random.uniform(-bound, bound, shape)))
            linear.bias.copy_(torch.from_numpy(random.uniform(-bound, bound, shape[0])))
            return
        tall = random.standard_normal((max(shape), min(shape)))
        basis, triangle = np.linalg.qr(tall)
        basis *= np.sign(np.diag(triangle))
        linear.weight.copy_(torch.from_numpy(gain * (basis if shape[0] >= shape[1] else basis.T)))
        linear.bias.zero_()

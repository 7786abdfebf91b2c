"""Versions that leave the service, and versions that come from elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

from services.kit.errors import FailedPrecondition, Reason, invalid
from services.rl_policy.algorithms.algorithm import Array
from services.rl_policy.algorithms.policies.loading import load
from services.rl_policy.onnx_export import to_onnx
from services.rl_policy.onnx_import import from_onnx
from services.rl_policy.served import Served
from services.rl_policy.store.records import Version
from services.rl_policy.store.store import Store

MAX_BYTES = 64 << 20


class Form(Enum):
    """How a bundle is to be read: the numbers of `trunkline.policy.v1.BundleFormat`."""

    ONNX = 1
    SAFETENSORS = 2
    Q_TABLE = 3


@dataclass(frozen=True)
class Offer:
    """A version made elsewhere."""

    form: Form
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    content: bytes = b""


def form_of(value: int, name: str) -> Form:
    """Return a form; raises InvalidArgument where there is none of this number."""
    if value not in {each.value for each in Form}:
        raise invalid(name, f"must be one of BundleFormat, not {value}")
    return Form(value)


async def bundle(store: Store, served: Served, number: int, form: Form) -> tuple[Version, bytes]:
    """Return a version (0: the newest that is kept) and its bundle.

    Raises NotFound, and FailedPrecondition (TASK_UNSUPPORTED) for a form that the algorithm has not.
    """
    if number == 0:
        newest = await asyncio.to_thread(store.versions.newest, served.name)
        number = newest.number if newest else 1
    version = await asyncio.to_thread(store.versions.get, served.name, min(number, (1 << 63) - 1))
    if form is Form.SAFETENSORS:
        return version, await asyncio.to_thread(store.versions.weight_bytes, served.name, version.number)
    weights = await asyncio.to_thread(store.versions.weights, served.name, version.number)
    plan = served.specification.plan
    if form is Form.ONNX and (model := await asyncio.to_thread(to_onnx, plan, weights)) is not None:
        return version, model
    if form is Form.Q_TABLE and "values" in weights and weights["values"].ndim == 2:
        return version, save({"q": np.ascontiguousarray(weights["values"])})
    message = f"a version of {version.algorithm} is not given away as {form.name}"
    named = {"model": served.name, "task": form.name}
    raise FailedPrecondition(Reason.TASK_UNSUPPORTED, message, metadata=named)


async def publish(store: Store, served: Served, offer: Offer) -> Version:
    """Keep a version made elsewhere; the same content again returns the version that it made.

    Raises InvalidArgument where the content is not its digest's, or does not act in the policy's spaces.
    """
    if hashlib.sha256(offer.content).hexdigest() != offer.digest:
        raise invalid("header.digest", "is not the SHA-256 of the chunks")
    if not all(np.isfinite(list(offer.metrics.values()))):
        raise invalid("header.metrics", "must be finite")
    if offer.form is Form.Q_TABLE:
        raise invalid("header.format", "must be BUNDLE_FORMAT_ONNX or BUNDLE_FORMAT_SAFETENSORS")
    weights = await asyncio.to_thread(_checked, served, offer)
    return await asyncio.to_thread(_kept, store, served, offer, weights)


def _checked(served: Served, offer: Offer) -> dict[str, Array]:
    try:
        weights = _read(offer)
        load(served.specification.plan, weights)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        why = str(error) if offer.form is Form.ONNX else "must be weights"
        raise invalid("chunk", f"{why}; it must act in the policy's spaces") from error
    if not all(np.isfinite(each).all() for each in weights.values() if each.dtype.kind == "f"):
        raise invalid("chunk", "must hold finite numbers")
    return weights


def _read(offer: Offer) -> dict[str, Array]:
    return from_onnx(offer.content) if offer.form is Form.ONNX else dict(load_arrays(offer.content))


def _kept(store: Store, served: Served, offer: Offer, weights: Mapping[str, Array]) -> Version:
    for each in store.versions.before(served.name):
        if each.config.get("offered") == offer.digest:
            return each
    version = Version(
        served.name,
        0,
        served.specification.plan.algorithm,
        origin="published",
        metrics=dict(offer.metrics),
        config={"offered": offer.digest},
    )
    return store.versions.publish(version, weights)

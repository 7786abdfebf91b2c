"""What the catalogue says about a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Task(StrEnum):
    """What a model does."""

    GENERATE = "generate"
    EMBED = "embed"


class Format(StrEnum):
    """How a model's weights are stored."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one vector."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


AUTO = "auto"
"""The precision that is fastest on a worker's device and whose answers hold there."""
DTYPES = (AUTO, "bfloat16", "float16", "float32", "int8", "q4")
"""How weights may be held: q4 keeps a GGUF file's blocks of four bits as they stand."""


class Origin(Protocol):
    """Files that can be fetched: all that the store needs to know of them, models or not."""

    @property
    def name(self) -> str:
        """What people call them."""
        ...

    @property
    def source(self) -> str:
        """The URL that they come from."""
        ...

    @property
    def sha256(self) -> str:
        """Their digest, or empty."""
        ...

    @property
    def download_bytes(self) -> int:
        """About how much comes, for progress bars; 0: unknown."""
        ...


@dataclass(frozen=True)
class SamplingDefaults:
    """Sampling that a model's makers advise; None where they leave it open."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One version of one model: where it comes from and how it is to be served.

    `sha256` is of the wheel for `pypi://`, of the file for a single file, and for a folder of its listing
    (see `services.store.digests`); empty means that nothing is checked. `download_bytes` only serves progress
    bars.
    """

    name: str
    source: str
    task: Task
    version: str = "1"
    sha256: str = ""
    weights: Format = Format.SAFETENSORS
    dtype: str = "bfloat16"
    device: str = ""
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)
    download_bytes: int = 0
    licence: str = ""
    description: str = ""

"""What every process that reads models is told: which, from where, and where their files are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.kit.settings import setting

DEFAULT_MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2")


@dataclass(frozen=True)
class StoreSettings:
    """The models of this machine. Tokenizer, worker and command line read the same variables."""

    models: tuple[str, ...] = setting(DEFAULT_MODELS, "The models that are there from the start.")
    catalogue: Path | None = setting(None, "A TOML file of models, laid over the built-in catalogue.")
    cache: Path = setting(Path("~/.cache/trunkline"), "Where models' files are kept.")

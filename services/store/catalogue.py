"""The catalogue: which models there are, read from TOML and checked before anything is fetched."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from services.kit.errors import NotFound, Reason
from services.kit.settings import SettingsError
from services.store.entries import model_spec
from services.store.spec import Format, ModelSpec, Pooling, SamplingDefaults, Task

__all__ = ["Catalogue", "Format", "ModelSpec", "Pooling", "SamplingDefaults", "Task"]


class Catalogue:
    """The models by name and version; iterates in order of both."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        """Keep `specs`; of two with one name and version the later one stays."""
        by_key = {(spec.name, spec.version): spec for spec in specs}
        self._specs = sorted(by_key.values(), key=lambda spec: (spec.name, _order(spec.version)))

    @classmethod
    def read(cls, path: Path | None = None) -> Catalogue:
        """Return the built-in catalogue with the entries of the TOML file `path` laid over it.

        Raises SettingsError, with one sentence that names file, entry and key, for what cannot be used.
        """
        built_in = files("services.store").joinpath("catalogue.toml").read_text(encoding="utf-8")
        specs = _parse(built_in, "the built-in catalogue")
        if path is not None:
            specs += _parse(_text(path), str(path))
        return cls(specs)

    def get(self, name: str, version: str = "") -> ModelSpec:
        """Return one version of a model, the highest where none is named.

        Versions compare by their numbers: "10" is above "9". Raises NotFound (MODEL_NOT_FOUND,
        VERSION_NOT_FOUND).
        """
        versions = [spec for spec in self._specs if spec.name == name]
        if not versions:
            known = ", ".join(self.names())
            message = f"No model is named {name!r} in the catalogue, which has {known}."
            raise NotFound(Reason.MODEL_NOT_FOUND, message, metadata={"model": name})
        if not version:
            return versions[-1]
        for spec in versions:
            if spec.version == version:
                return spec
        message = (
            f"The model {name!r} has no version {version!r}, only {', '.join(s.version for s in versions)}."
        )
        raise NotFound(Reason.VERSION_NOT_FOUND, message, metadata={"model": name, "version": version})

    def names(self) -> tuple[str, ...]:
        """Return the models' names, each once, in order."""
        return tuple(dict.fromkeys(spec.name for spec in self._specs))

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"TRUNKLINE_CATALOGUE names {path}, which cannot be read: {error}") from error


def _parse(text: str, origin: str) -> list[ModelSpec]:
    try:
        return _distinct([model_spec(entry) for entry in _entries(tomllib.loads(text))])
    except ValueError as error:
        raise SettingsError(f"The catalogue {origin} cannot be used: {error}") from error


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    entries = document.pop("model", [])
    if document:
        raise ValueError(f"unknown key {next(iter(document))!r} (models are [[model]] tables)")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("models must be [[model]] tables, with two brackets")
    return entries


def _distinct(specs: list[ModelSpec]) -> list[ModelSpec]:
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        if (spec.name, spec.version) in seen:
            raise ValueError(f"model {spec.name!r} version {spec.version!r} stands there twice")
        seen.add((spec.name, spec.version))
    return specs


def _order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which "10" is above "9" and "2-rc" between "2" and "3"."""
    parts = re.findall(r"\d+|[^\d]+", version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)

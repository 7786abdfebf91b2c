"""A version on disk: what was trained together, never changed, there whole or not at all.

    VERSION/manifest.json       what it is: algorithms, weights of their blend, data, metrics, digests
    VERSION/items.json          the items of the columns and their rows in the catalogue
    VERSION/KIND.safetensors    the arrays of one model

A version appears by one rename; whoever dies before leaves a hidden folder that nobody reads.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.entities import Rows
from services.recommender.models.kinds import restore
from services.recommender.models.model import Model, UserModel
from services.store.digests import digest_of

MANIFEST, ITEMS = "manifest.json", "items.json"


@dataclass(frozen=True)
class StoredVersion:
    """A version, read."""

    manifest: Mapping[str, Any]
    models: Mapping[str, Model]
    item_ids: Sequence[str]
    rows: Rows


def write_version(
    folder: Path, models: Mapping[str, Model], item_ids: Sequence[str], rows: Rows, about: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Write a version into `folder`, which must not exist, and return its manifest: `about` and `models`.

    Raises OSError, and leaves nothing, where it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _write_json(partial / ITEMS, {"item_ids": list(item_ids), "rows": rows.tolist()})
        entries = {name: _write_model(partial, name, model) for name, model in models.items()}
        digests = {ITEMS: digest_of(partial / ITEMS)}
        manifest = {**about, "version": folder.name, "models": entries, "digests": digests}
        _write_json(partial / MANIFEST, manifest)
        _flush(partial)
        partial.rename(folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def read_version(folder: Path) -> StoredVersion:
    """Return the version in `folder`; raises FailedPrecondition (VERSION_UNUSABLE) where it is not whole."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        _check_digest(folder / ITEMS, manifest["digests"][ITEMS])
        items = json.loads((folder / ITEMS).read_text(encoding="utf-8"))
        models = {name: _read_model(folder, name, entry) for name, entry in manifest["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        message = f"The files of version {folder.name!r} cannot be used: {error}"
        raise FailedPrecondition(
            Reason.VERSION_UNUSABLE, message, metadata={"version": folder.name}
        ) from error
    return StoredVersion(manifest, models, items["item_ids"], np.array(items["rows"], np.int32))


def _write_model(folder: Path, name: str, model: Model) -> Mapping[str, Any]:
    path = folder / f"{name}.safetensors"
    save_file({key: np.ascontiguousarray(array) for key, array in model.arrays().items()}, path)
    _flush(path)
    return {
        "kind": model.name,
        "config": dict(model.config),
        "sha256": digest_of(path),
        "bytes": path.stat().st_size,
        "holds_users": isinstance(model, UserModel),
    }


def _read_model(folder: Path, name: str, entry: Mapping[str, Any]) -> Model:
    path = folder / f"{name}.safetensors"
    _check_digest(path, entry["sha256"])
    return restore(entry["kind"], entry["config"], load_file(path))


def _check_digest(path: Path, expected: str) -> None:
    if digest_of(path) != expected:
        raise ValueError(f"{path.name} is not what was written")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    """Have the disk hold what was written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

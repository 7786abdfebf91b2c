"""Where the peers live: `$XDG_CACHE_HOME/trunkline/peers`, a folder each."""

from __future__ import annotations

import json
import os
from pathlib import Path


def root() -> Path:
    """Return the folder of all peers."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "trunkline" / "peers"


def folder(peer: str) -> Path:
    """Return the folder of one peer, there or not."""
    return root() / peer


def python(peer: str) -> Path:
    """Return the interpreter of a peer's environment."""
    return folder(peer) / "bin" / "python"


def built(peer: str, recipe: str) -> bool:
    """Return whether `peer` stands there, made by just this recipe."""
    return _record(peer).get("recipe") == recipe


def why_not(peer: str) -> str:
    """Return why a peer cannot be measured; empty where it can."""
    record = _record(peer)
    if "recipe" in record:
        return ""
    return record.get("failure", "it is not built: run `make bench-peers`")


def record(peer: str, **what: str) -> None:
    """Keep that a peer was built (`recipe`), or why it could not be (`failure`)."""
    folder(peer).mkdir(parents=True, exist_ok=True)
    _path(peer).write_text(json.dumps(what, indent=1))


def _record(peer: str) -> dict[str, str]:
    path = _path(peer)
    return json.loads(path.read_text()) if path.exists() else {}


def _path(peer: str) -> Path:
    return folder(peer) / "built.json"

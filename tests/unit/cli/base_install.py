"""Runs `trunkline` with nothing importable but what `pip install trunkline` brings, without extras."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, requires
from types import ModuleType


def base_distributions(name: str = "trunkline") -> set[str]:
    """Return the distributions that `name` needs without any extra, itself included."""
    found = {name}
    for line in requires(name) or []:
        if "extra ==" not in line:
            needed = _normal(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])
            found |= base_distributions(needed)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Hiding(MetaPathFinder):
    """Finds nothing of the packages that belong to other distributions."""

    def __init__(self, allowed: set[str]) -> None:
        self._hidden = {
            package
            for package, owners in packages_distributions().items()
            if not allowed & {_normal(owner) for owner in owners}
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Hiding(base_distributions()))
    from gateway.cli import main

    sys.exit(main())

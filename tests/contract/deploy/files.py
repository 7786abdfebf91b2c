"""The files of a deployment, read as what they say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from services.kit.mesh import MESH, ServiceEntry
from services.kit.settings import describe

ROOT = Path(__file__).parents[3]
STARTED = tuple(entry for entry in MESH if not entry.parent)
"""What a platform starts; the rest is started by these."""


def compose() -> dict[str, Any]:
    """Return docker-compose.yml with its anchors resolved."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def extras() -> dict[str, list[str]]:
    """Return what each extra of the distribution asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"]


def entry_of(service: dict[str, Any]) -> ServiceEntry | None:
    """Return the entry of the mesh's table that a compose service runs; None for an image of others."""
    command = service.get("command", [])
    found = [entry for entry in STARTED if command == ["python", "-m", entry.module]]
    return found[0] if found else None


def variables(entry: ServiceEntry) -> set[str]:
    """Return every variable that the entry's settings, or those of what it starts, look at."""
    modules = [entry.module, *(child.module for child in MESH if child.parent == entry.name)]
    return {
        setting.variable
        for module in modules
        for each in settings_classes(import_module(f"{module}.settings"))
        for setting in describe(each)
    }


def settings_classes(module: ModuleType) -> list[type]:
    """Return the settings dataclasses of a module."""
    return [each for each in vars(module).values() if isinstance(each, type) and is_dataclass(each)]


@dataclass
class Stage:
    """One stage of the Dockerfile."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """(instruction, the rest), in order."""

    def of(self, instruction: str) -> list[str]:
        """Return what follows each `instruction` of this stage."""
        return [rest for word, rest in self.steps if word == instruction]


def stages() -> dict[str, Stage]:
    """Return the Dockerfile's stages by name."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, Stage] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, name = rest.split(" AS ")
            found[name] = Stage(base, name)
        elif found:
            found[name].steps.append((word, rest.strip()))
    return found

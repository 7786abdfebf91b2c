"""`trunkline models`: what the mesh has, and where a model's files are on this machine."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from services.kit.command import Command, CommandError, public_channel
from services.kit.settings import read

if TYPE_CHECKING:
    from rich.table import Table
    from trunkline.inference.v1.inference_pb2 import Model


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=["list", "path"], help="list: what the mesh has; path: where files are"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="path: the model, as the catalogue names it")
    parser.add_argument("--version", default="", help="path: its version (default: the newest)")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.action == "list":
        return _list(as_json=arguments.json)
    if not arguments.name:
        raise CommandError("Name a model: `trunkline models path NAME`.")
    return _path(arguments.name, arguments.version, as_json=arguments.json)


def _list(*, as_json: bool) -> int:
    from rich.console import Console
    from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub

    from gateway.commands.answer import as_dict
    from gateway.commands.offer import models

    with public_channel() as channel:
        found = list(models(InferenceServiceStub(channel)))
    if as_json:
        print(json.dumps({"models": [as_dict(model) for model in found]}, ensure_ascii=False))
    elif found:
        Console().print(table(found))
    else:
        print("No model is routed yet. `trunkline status` shows what is being loaded.")
    return 0


def table(models: list[Model]) -> Table:
    """Return the models as people read them."""
    from rich.table import Table
    from rich.text import Text
    from trunkline.inference.v1.sampling_pb2 import Task

    shown = Table(box=None, pad_edge=False)
    for heading in ("MODEL", "TASK", "VERSION"):
        shown.add_column(heading)
    for heading in ("TRAFFIC", "READY ON", "CONTEXT", "DIMENSIONS"):
        shown.add_column(heading, justify="right")
    for model in models:
        task = Task.Name(model.task).removeprefix("TASK_").lower()
        for version in model.versions:
            shown.add_row(
                Text(model.name),
                task,
                Text(version.version),
                f"{version.traffic_percent} %",
                str(version.ready_workers),
                f"{model.context_length:,}",
                str(model.dimensions or ""),
            )
    return shown


def _path(name: str, version: str, *, as_json: bool) -> int:
    from services.store.catalogue import Catalogue
    from services.store.settings import StoreSettings
    from services.store.store import Store

    settings = read(StoreSettings)
    spec = Catalogue.read(settings.catalogue).get(name, version)
    store = Store(settings.cache)
    if not store.cached(spec):
        raise CommandError(f"{name} is not in {settings.cache} yet; `trunkline up` fetches it.")
    folder = str(store.fetch(spec))
    print(json.dumps({"model": name, "version": spec.version, "path": folder}) if as_json else folder)
    return 0


MODELS = Command("models", "list the mesh's models, or say where a model's files are", _add_arguments, _run)

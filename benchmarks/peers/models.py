"""The default models in the forms that peers read: dequantised safetensors, and OpenVINO's."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import places
from benchmarks.peers.environments import run
from services.kit.settings import read
from services.store.catalogue import Catalogue
from services.store.settings import StoreSettings
from services.store.store import Store

GENERATOR, ENCODER = "smollm2-135m-instruct", "all-minilm-l6-v2"
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Converted:
    """A model in another form, made by a program in the environment `by` (empty: Trunkline's own)."""

    name: str
    source: str
    """A model of the catalogue, or of this list."""
    by: str
    program: str


MODELS = (
    Converted("smollm2-bf16", GENERATOR, "", "dequantise.py"),
    Converted("smollm2-openvino", "smollm2-bf16", "openvino-conversion", "to_openvino.py"),
    Converted("minilm-openvino", ENCODER, "openvino-conversion", "to_openvino.py"),
)


def make(model: Converted) -> None:
    """Write the model into its folder; raises BuildError."""
    into = places.folder(model.name)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    python = str(places.python(model.by)) if model.by else sys.executable
    run([python, str(PROGRAMS / model.program), str(path(model.source)), str(into)])


def path(name: str) -> Path:
    """Return the folder of a model: of the catalogue, which is fetched, or one that was made here."""
    if name in {each.name for each in MODELS}:
        return places.folder(name)
    settings = read(StoreSettings)
    return Store(settings.cache).fetch(Catalogue.read(settings.catalogue).get(name))

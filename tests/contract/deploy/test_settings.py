"""A variable that several processes read has one default."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from typing import Any

from gateway.commands.plan import UpSettings
from services.kit.mesh import MESH
from services.kit.settings import describe
from tests.contract.deploy.files import settings_classes

# Where it listens, and how long it may take to stop: who is stopped by another takes less than that one.
OWN_FOR_EACH = {"TRUNKLINE_LISTEN", "TRUNKLINE_DRAIN_S"}


def test_a_shared_variable_has_the_same_default_everywhere():
    classes = [UpSettings]
    for entry in MESH:
        classes += settings_classes(import_module(f"{entry.module}.settings"))
    defaults: dict[str, set[Any]] = defaultdict(set)
    for each in classes:
        for setting in describe(each):
            defaults[setting.variable].add(setting.default)
    differing = {name: found for name, found in defaults.items() if len(found) > 1}
    assert set(differing) <= OWN_FOR_EACH, differing


def test_up_reads_no_variable_that_no_process_reads():
    read = {
        setting.variable
        for entry in MESH
        for each in settings_classes(import_module(f"{entry.module}.settings"))
        for setting in describe(each)
    }
    assert {setting.variable for setting in describe(UpSettings)} <= read

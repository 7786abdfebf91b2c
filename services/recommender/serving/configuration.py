"""The configuration: what event types say, and the scenarios, from TOML.

[events.purchase]            # fields of entities.Preference
weight = 3.0

[online]
conversions = ["purchase"]

[scenarios.home]             # fields of Scenario; what is not set is as in the built-in "default"
sources = { blend = 1.0, popular = 0.1 }
fallback = ["trending", "popular", "latest"]
diversity = 0.2
filter = "not adult"
caps = { author = 2 }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from services.kit.errors import InvalidArgument
from services.kit.settings import SettingsError
from services.recommender.entities import Preference
from services.recommender.serving.blending import Blend
from services.recommender.serving.filter_syntax import parse
from services.recommender.serving.query import Boost, Cap, Quota, Rules, Seen

DEFAULT = "default"
BOARDS = ("popular", "trending", "latest")
"""Sources that know no user."""


@dataclass(frozen=True)
class Scenario:
    """A named pipeline: which sources speak, and what is made of what they say."""

    name: str = DEFAULT
    sources: Mapping[str, float] = field(default_factory=lambda: {"blend": 1.0})
    """Weights by name: models of the version (`ease`, …), boards, or `blend`, the version's own blend."""
    blend: Blend = "z_score"
    fallback: tuple[str, ...] = ("profile", *BOARDS)
    """What fills a list for those of whom nothing is known, the first first."""
    fresh_slots: int = 1
    """Places at the end of a list for items that came since training and are like what the user knows."""
    filter: str = ""
    seen: Seen = field(default_factory=Seen)
    rules: Rules = field(default_factory=Rules)
    diversity: float = 0.0
    explore: float = 0.0


EVENTS: Mapping[str, Preference] = MappingProxyType(
    {
        "view": Preference(),
        "click": Preference(),
        "play": Preference(),
        "rating": Preference(),
        "like": Preference(2.0),
        "cart": Preference(2.0),
        "purchase": Preference(3.0),
        "dislike": Preference(-1.0),
    }
)
_SCENARIOS = MappingProxyType(
    {
        DEFAULT: Scenario(),
        "session": Scenario("session", {"transitions": 1.0, "blend": 0.5}),
        "popular": Scenario("popular", {"popular": 1.0}, seen=Seen(exclude=False), fresh_slots=0),
    }
)


@dataclass(frozen=True)
class Configuration:
    """What a recommender's operators decide beside its settings."""

    preferences: Mapping[str, Preference] = field(default_factory=lambda: EVENTS)
    scenarios: Mapping[str, Scenario] = field(default_factory=lambda: _SCENARIOS)
    conversions: frozenset[str] = frozenset({"purchase"})
    """Event types that count as conversions online."""

    @classmethod
    def read(cls, path: str = "") -> Configuration:
        """Return what the file at `path` says over what is built in; raises SettingsError."""
        if not path:
            return cls()
        try:
            return _configuration(tomllib.loads(Path(path).expanduser().read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, InvalidArgument) as error:
            raise SettingsError(f"The recommender's configuration {path} cannot be used: {error}") from error


def _configuration(document: Mapping[str, Any]) -> Configuration:
    _check_names(document, {"events", "online", "scenarios"}, "the file")
    scenarios = dict(_SCENARIOS)
    given = document.get("scenarios", {})
    scenarios[DEFAULT] = _scenario(DEFAULT, given.get(DEFAULT, {}), scenarios[DEFAULT])
    for name, table in given.items():
        scenarios[name] = _scenario(name, table, scenarios.get(name, scenarios[DEFAULT]))
    events = {name: Preference(**table) for name, table in document.get("events", {}).items()}
    conversions = document.get("online", {}).get("conversions", Configuration.conversions)
    return Configuration(events or EVENTS, scenarios, frozenset(conversions))


def _scenario(name: str, table: Mapping[str, Any], start: Scenario) -> Scenario:
    known = {each.name for each in fields(Scenario)} - {"name", "rules"} | {"boosts", "quotas", "caps"}
    _check_names(table, known, f"scenarios.{name}")
    values = {key: table[key] for key in table.keys() - {"boosts", "quotas", "caps"}}
    if "seen" in values:
        values["seen"] = Seen(**{**values["seen"], "types": tuple(values["seen"].get("types", ()))})
    if "fallback" in values:
        values["fallback"] = tuple(values["fallback"])
    scenario = replace(start, name=name, rules=_rules(table) or start.rules, **values)
    _check(scenario)
    return scenario


def _rules(table: Mapping[str, Any]) -> Rules:
    return Rules(
        boosts=tuple(Boost(**each) for each in table.get("boosts", ())),
        quotas=tuple(Quota(**each) for each in table.get("quotas", ())),
        caps=tuple(Cap(*each) for each in table.get("caps", {}).items()),
    )


def _check(scenario: Scenario) -> None:
    if not scenario.sources or min(scenario.sources.values()) < 0:
        raise ValueError(f"scenarios.{scenario.name}.sources must be weights, at least one")
    if scenario.blend not in get_args(Blend):
        raise ValueError(f"scenarios.{scenario.name}.blend must be one of {', '.join(get_args(Blend))}")
    if not 0 <= scenario.diversity <= 1 or not 0 <= scenario.explore <= 1 or scenario.fresh_slots < 0:
        raise ValueError(
            f"scenarios.{scenario.name}: diversity and explore are 0 to 1, fresh_slots 0 or more"
        )
    if unknown := set(scenario.fallback) - {"profile", *BOARDS}:
        raise ValueError(f"scenarios.{scenario.name}.fallback has no {', '.join(sorted(unknown))}")
    for text in (scenario.filter, *(each.filter for each in scenario.rules.boosts + scenario.rules.quotas)):
        if text:
            parse(text, f"scenarios.{scenario.name}.filter")


def _check_names(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := set(table) - known:
        raise ValueError(f"{where} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")

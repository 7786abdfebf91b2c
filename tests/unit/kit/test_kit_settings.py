from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from services.kit.settings import Setting, SettingsError, describe, read, setting


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    depth: int = setting(3, "How deep.", unit="metres")


@dataclass(frozen=True)
class Settings:
    listen: str = setting("127.0.0.1:1", "Where it listens.")
    count: int = setting(1, "How many.")
    wait_s: float = setting(0.5, "How long.", unit="seconds")
    eager: bool = setting(default=False, help="Whether it hurries.")
    cache: Path = setting(Path("~/cache"), "Where it keeps things.")
    models: tuple[str, ...] = setting(("a", "b"), "Which.")
    colour: Colour = setting(Colour.RED, "What colour.")
    seed: int | None = setting(None, "The seed; none: a new one each time.")
    endpoint: str = setting("", "Where traces go.", env="OTEL_ENDPOINT")
    inner: Inner = field(default_factory=Inner)
    derived: str = "not a variable"

    def __post_init__(self) -> None:
        if self.count > 10:
            raise ValueError("TRUNKLINE_COUNT must be at most 10")


def test_every_setting_has_a_working_default():
    settings = read(Settings, {})
    assert settings == Settings(cache=Path.home() / "cache")


def test_variables_set_fields_of_every_type():
    settings = read(
        Settings,
        {
            "TRUNKLINE_LISTEN": "0.0.0.0:2",
            "TRUNKLINE_COUNT": " 7 ",
            "TRUNKLINE_WAIT_S": "1e-3",
            "TRUNKLINE_EAGER": "Yes",
            "TRUNKLINE_CACHE": "~/other",
            "TRUNKLINE_MODELS": "x, y,,z",
            "TRUNKLINE_COLOUR": "blue",
            "TRUNKLINE_SEED": "9",
            "OTEL_ENDPOINT": "http://jaeger:4317",
            "TRUNKLINE_DEPTH": "4",
            "TRUNKLINE_DERIVED": "ignored",
        },
    )
    assert settings == Settings(
        listen="0.0.0.0:2",
        count=7,
        wait_s=0.001,
        eager=True,
        cache=Path.home() / "other",
        models=("x", "y", "z"),
        colour=Colour.BLUE,
        seed=9,
        endpoint="http://jaeger:4317",
        inner=Inner(depth=4),
    )


def test_an_empty_value_is_a_value_only_where_it_can_be_one():
    environ = dict.fromkeys(
        ("TRUNKLINE_LISTEN", "TRUNKLINE_COUNT", "TRUNKLINE_MODELS", "TRUNKLINE_SEED", "TRUNKLINE_EAGER"), ""
    )
    settings = read(Settings, environ)
    assert (settings.listen, settings.count, settings.models) == ("", 1, ())
    assert (settings.seed, settings.eager) == (None, False)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TRUNKLINE_COUNT", "many", "TRUNKLINE_COUNT must be a whole number, not 'many': How many."),
        ("TRUNKLINE_WAIT_S", "1s", "TRUNKLINE_WAIT_S must be a number (seconds), not '1s': How long."),
        ("TRUNKLINE_WAIT_S", "inf", "TRUNKLINE_WAIT_S must be a number (seconds), not 'inf': How long."),
        (
            "TRUNKLINE_EAGER",
            "maybe",
            "TRUNKLINE_EAGER must be true or false, not 'maybe': Whether it hurries.",
        ),
        ("TRUNKLINE_COLOUR", "green", "TRUNKLINE_COLOUR must be one of red, blue, not 'green': What colour."),
        (
            "TRUNKLINE_SEED",
            "x",
            "TRUNKLINE_SEED must be a whole number, not 'x': The seed; none: a new one each time.",
        ),
        ("TRUNKLINE_COUNT", "11", "The settings do not fit together: TRUNKLINE_COUNT must be at most 10"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_variable(variable: str, value: str, sentence: str):
    with pytest.raises(SettingsError) as caught:
        read(Settings, {variable: value})
    assert caught.value.code == sentence


def test_settings_describe_themselves():
    described = {each.variable: each for each in describe(Settings)}
    assert described["TRUNKLINE_DEPTH"] == Setting("TRUNKLINE_DEPTH", 3, "metres", "How deep.")
    assert "OTEL_ENDPOINT" in described
    assert "TRUNKLINE_DERIVED" not in described

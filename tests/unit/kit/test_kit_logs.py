from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from services.kit import logs
from services.kit.logs import JsonFormatter, LogFormat, LogLevel, TextFormatter
from services.kit.telemetry import Telemetry, TelemetrySettings, resource


def record(message: str, *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    return logging.getLogger("kit.test").makeRecord(
        "kit.test", logging.WARNING, __file__, 1, message, args, exc_info, extra=extra
    )


def fail(message: str) -> None:
    raise ValueError(message)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    one = logging.getLogger()
    handlers, level, sdk = list(one.handlers), one.level, logging.getLogger("opentelemetry").level
    yield one
    one.handlers[:] = handlers
    one.setLevel(level)
    logging.getLogger("opentelemetry").setLevel(sdk)


def test_an_event_is_one_line_of_json_with_what_was_added():
    line = JsonFormatter().format(record("loaded %s", "it", model="m", seconds=1.5, ok=True, path=["a"]))
    values = json.loads(line)
    assert values.pop("time").endswith("+00:00")
    assert values == {
        "level": "WARNING",
        "logger": "kit.test",
        "message": "loaded it",
        "model": "m",
        "seconds": 1.5,
        "ok": True,
        "path": "['a']",
    }


def test_an_event_inside_a_span_carries_its_ids():
    telemetry = Telemetry.of(resource("x"))
    with telemetry.tracer.start_as_current_span("work") as span:
        values = json.loads(JsonFormatter().format(record("hello")))
    context = span.get_span_context()
    assert values["trace_id"] == f"{context.trace_id:032x}"
    assert values["span_id"] == f"{context.span_id:016x}"
    telemetry.close()


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_text_can_forge_a_line_or_reach_the_terminal(formatter: logging.Formatter):
    line = formatter.format(record("a\nb\r\x1b[31m\x7f\x9b\u2028", model="c\nd\x1b"))
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["message"].startswith("a\nb")
        assert line.isascii()
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert len(line.splitlines()) == 1


def test_long_values_are_cut_and_say_how_long_they_were():
    values = json.loads(JsonFormatter().format(record("m" * 5_000, value="v" * 5_000)))
    assert len(values["message"]) < 2_100
    assert values["message"].endswith("… (5000 characters)")
    assert len(values["value"]) < 600


def test_a_clients_text_is_withheld():
    line = JsonFormatter().format(record("generate", prompt="my secret", messages=["mine"], tokens=3))
    assert "my secret" not in line
    assert json.loads(line)["prompt"] == "<withheld>"
    assert json.loads(line)["tokens"] == 3


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_an_exception_brings_its_traceback(formatter: logging.Formatter):
    try:
        fail("x" * 20_000)
    except ValueError as error:
        line = formatter.format(record("failed", exc_info=(ValueError, error, error.__traceback__)))
    assert "characters)" in line
    assert len(line) < 9_000


def test_a_terminal_gets_a_line_for_people():
    line = TextFormatter().format(record("loaded", model="m", exc_info=None))
    assert line[12:] == " WARNING kit.test: loaded model=m"


@pytest.mark.parametrize(("form", "kind"), [(LogFormat.AUTO, JsonFormatter), (LogFormat.TEXT, TextFormatter)])
def test_logs_go_to_stderr_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], form: LogFormat, kind: type[logging.Formatter]
):
    for _ in range(2):
        logs.configure(LogLevel.INFO, form)
    assert [type(each.formatter) for each in root.handlers if type(each.formatter) is kind] == [kind]
    logging.getLogger("kit.test").info("once")
    logging.getLogger("kit.test").debug("never")
    assert capsys.readouterr().err.count("once") == 1


@pytest.mark.parametrize("wrong", [{"trace_ratio": 1.5}, {"metrics_interval_s": 0.0}])
def test_telemetry_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="TRUNKLINE_"):
        TelemetrySettings(**wrong)

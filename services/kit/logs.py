"""Logs: one line an event on stderr, as JSON, or for people where stderr is a terminal.

Log facts, never a client's text: prompts, chats and completions stay out, whatever the level.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from opentelemetry import trace

MESSAGE_LIMIT = 2_000
FIELD_LIMIT = 500
EXCEPTION_LIMIT = 8_000

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_WITHHELD = frozenset({"prompt", "text", "texts", "messages", "content", "completion"})


class LogFormat(StrEnum):
    """How a line looks."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, trace_id, span_id, and the call's `extra` fields.

    Everything outside ASCII and all control characters are escaped: a line is one line. Long values are cut.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        return json.dumps(fields(record), default=str).replace("\x7f", "\\u007f")


class TextFormatter(logging.Formatter):
    """For people: `12:03:04.123 INFO services.tokenizer: loaded model=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline; a traceback follows on lines of its own."""
        values = fields(record)
        time, level, name, message = (values.pop(key) for key in ("time", "level", "logger", "message"))
        tail = values.pop("exception", "")
        rest = "".join(f" {key}={value}" for key, value in values.items() if key != "span_id")
        line = _escape(f"{time[11:23]} {level} {name}: {message}{rest}")
        return "\n".join([line, *map(_escape, tail.splitlines())])


def configure(level: LogLevel, form: LogFormat = LogFormat.AUTO) -> None:
    """Send the root logger's records to stderr; a second call replaces what the first set up."""
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, JsonFormatter | TextFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.value)
    # The SDK reports each queue that is full and each span that comes after close: ours to know, not to read.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what is logged of `record`."""
    values: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": _cut(record.getMessage(), MESSAGE_LIMIT),
    }
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        values["trace_id"] = f"{context.trace_id:032x}"
        values["span_id"] = f"{context.span_id:016x}"
    for key, value in vars(record).items():
        if key not in _OWN:
            values[key] = "<withheld>" if key in _WITHHELD else _value(value)
    if record.exc_info and record.exc_info[0] is not None:
        values["exception"] = _tail("".join(traceback.format_exception(*record.exc_info)), EXCEPTION_LIMIT)
    return values


def _value(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | None) else _cut(str(value), FIELD_LIMIT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _tail(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"({len(text)} characters) …{text[-limit:]}"


def _escape(text: str) -> str:
    """Return `text` without what a terminal or a reader of lines would act on."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

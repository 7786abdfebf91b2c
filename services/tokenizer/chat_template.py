"""Chat templates: a conversation becomes the text that its model was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.kit.errors import invalid
from services.tokenizer.inputs import Chat

MAX_TEMPLATE_CHARACTERS = 1 << 20
MAX_PROMPT_CHARACTERS = 8 << 20
"""Twice the content that a chat may have: what a template adds is small beside it."""

_MAX_COMPLAINT_CHARACTERS = 500
# Marks where the last message ends, whatever the template puts after it. Private-use characters, so that no
# template changes it; its space shows whether the template strips messages.
_OPEN_END = "\ue000open\ue001 "


class TemplateComplaint(jinja2.TemplateError):
    """A template refused its messages, by `raise_exception`."""


class ChatTemplate:
    """A template as Hugging Face's tokenizers carry it, run in a sandbox that can change nothing.

    It knows `messages`, `add_generation_prompt`, the special tokens (`bos_token`, …), `raise_exception`,
    `strftime_now`, the filter `tojson`, and the tags `break`, `continue` and `generation`. `tools` and
    `documents` are none.
    """

    def __init__(
        self,
        source: str,
        special_tokens: Mapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """Compile `source`; `special_tokens` maps "bos_token" and the like to texts. Raises ValueError."""
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise ValueError(f"the chat template has more than {MAX_TEMPLATE_CHARACTERS:,} characters")
        environment = _environment(now)
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError, SyntaxError) as error:
            raise ValueError(f"the chat template does not parse: {error}") from error
        self._constants: dict[str, Any] = {**special_tokens, "tools": None, "documents": None}

    def render(self, chat: Chat, field: str) -> str:
        """Return the prompt of a conversation, which ends where the model is to go on.

        Raises InvalidArgument for `field` when the template refuses the messages, in its own words if it has
        any, and when it makes too much of them.
        """
        messages = [{"role": each.role, "content": each.content} for each in chat.messages]
        if chat.continue_last:
            messages[-1]["content"] += _OPEN_END
        try:
            text = self._run(messages, add_generation_prompt=not chat.continue_last)
        except TemplateComplaint as error:
            raise invalid(field, str(error)[:_MAX_COMPLAINT_CHARACTERS]) from error
        except Exception as error:  # a template is a program: it can fail in any way
            raise invalid(field, "cannot be put into the model's chat template") from error
        return _cut(text, field) if chat.continue_last else text

    def _run(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        parts, size = [], 0
        stream = self._template.generate(
            self._constants, messages=messages, add_generation_prompt=add_generation_prompt
        )
        for part in stream:
            size += len(part)
            if size > MAX_PROMPT_CHARACTERS:
                raise TemplateComplaint(f"becomes a prompt of more than {MAX_PROMPT_CHARACTERS:,} characters")
            parts.append(part)
        return "".join(parts)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks words to train on; here it is what it holds."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment(now: Callable[[], datetime]) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment


def _raise_exception(message: Any) -> None:
    raise TemplateComplaint(str(message))


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:  # noqa: FBT001, FBT002
    """Return JSON as it is, where jinja2's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _cut(text: str, field: str) -> str:
    """Return `text` up to the end of the open message."""
    at = text.rfind(_OPEN_END.strip())
    if at < 0:
        raise invalid(
            f"{field}.continue_last_message", "must be false: the template leaves the last message out"
        )
    kept = text[:at]
    return kept if text.startswith(_OPEN_END, at) else kept.rstrip()

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.kit.errors import InvalidArgument, Reason
from services.tokenizer.chat_template import MAX_PROMPT_CHARACTERS, MAX_TEMPLATE_CHARACTERS, ChatTemplate
from services.tokenizer.inputs import Chat, Message
from tests.real_models import CHAT, reference, tokenizer_files

CHATS = (
    (("user", "Hi"),),
    (("system", "Be brief."), ("user", "What is 2 + 2?"), ("assistant", "4"), ("user", "And 3 + 3?")),
    (("user", "  spaces \n around  "), ("assistant", "Ünï\u200dcode 日本 <|im_end|> \u0000")),
    (("tool", ""), ("whoever", "{{ messages }} {% raise %}")),
)


def chat(*messages: tuple[str, str], continue_last: bool = False) -> Chat:
    return Chat(tuple(Message(role, content) for role, content in messages), continue_last)


def template(source: str, **tokens: str) -> ChatTemplate:
    return ChatTemplate(source, tokens, now=lambda: datetime(2026, 1, 2, tzinfo=UTC))


def render(source: str, *messages: tuple[str, str], **tokens: str) -> str:
    return template(source, **tokens).render(chat(*(messages or (("user", "Hi"),))), "inputs[0].chat")


@pytest.mark.parametrize("messages", CHATS)
@pytest.mark.parametrize("continue_last", [False, True])
def test_the_default_models_prompts_are_those_of_transformers(
    messages: tuple[tuple[str, str], ...], continue_last: bool
) -> None:
    ours = ChatTemplate(tokenizer_files(CHAT).chat_template or "", {})
    theirs = reference(CHAT).apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        tokenize=False,
        add_generation_prompt=not continue_last,
        continue_final_message=continue_last,
    )
    assert ours.render(chat(*messages, continue_last=continue_last), "") == theirs


def test_a_template_knows_what_hugging_faces_templates_use() -> None:
    assert render("{{ bos_token }}{{ eos_token }}", bos_token="<s>", eos_token="</s>") == "<s></s>"
    assert render("{{ pad_token }}|{{ tools }}|{{ documents }}") == "|None|None"
    assert render("{{ {'a': '<é>'} | tojson }}") == '{"a": "<é>"}'
    assert render("{{ [1] | tojson(indent=1) }}") == "[\n 1\n]"
    assert render("{{ strftime_now('%d %b %Y') }}") == "02 Jan 2026"
    assert render("{% generation %}{{ messages[0].content }}{% endgeneration %}") == "Hi"
    assert (
        render("{% for each in [1, 2] %}{% if each == 2 %}{% break %}{% endif %}{{ each }}{% endfor %}")
        == "1"
    )
    assert render("{% set box = namespace(n=0) %}{% set box.n = 3 %}{{ box.n }}") == "3"
    assert render("{% if add_generation_prompt %}go{% endif %}\n  {% set x = 1 %}\n") == "go"


def test_a_continued_message_is_open_whether_the_template_trims_it_or_not() -> None:
    as_it_is = "{% for each in messages %}<{{ each.content }}>{% endfor %}"
    trimming = as_it_is.replace("content", "content | trim")
    open_chat = chat(("user", "<Paris>"), ("assistant", "<Paris>  "), continue_last=True)

    assert template(as_it_is).render(open_chat, "chat") == "<<Paris>><<Paris>  "
    assert template(trimming).render(open_chat, "chat") == "<<Paris>><<Paris>"


def test_an_empty_message_can_be_continued() -> None:
    source = "{% for each in messages %}[{{ each.content }}]{% endfor %}"
    assert template(source).render(chat(("assistant", ""), continue_last=True), "chat") == "["


def test_a_message_that_the_template_leaves_out_cannot_be_continued() -> None:
    with pytest.raises(InvalidArgument) as refused:
        template("nothing").render(chat(("user", "Hi"), continue_last=True), "inputs[2].chat")
    assert refused.value.violations[0].field == "inputs[2].chat.continue_last_message"


def test_a_template_that_refuses_is_heard_in_its_own_words() -> None:
    with pytest.raises(InvalidArgument, match="roles must alternate") as refused:
        render("{{ raise_exception('roles must alternate') }}")
    assert refused.value.reason == Reason.FIELD_INVALID
    assert refused.value.violations[0].description == "roles must alternate"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ missing.field.deeper }}",
        "{{ messages[9].content }}",
        "{{ raise_exception() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% include 'passwd' %}",
        "{{ range(1000000) | list }}",
        "{% macro loop() %}{{ loop() }}{% endmacro %}{{ loop() }}",
    ],
)
def test_a_template_that_fails_tells_callers_nothing_of_its_inside(source: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        render(source)
    assert refused.value.violations[0].description == "cannot be put into the model's chat template"


def test_a_prompt_without_end_is_cut_short() -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}"
    with pytest.raises(InvalidArgument, match=f"more than {MAX_PROMPT_CHARACTERS:,} characters"):
        render(endless)


@pytest.mark.parametrize(
    "source", ["{% if %}", "{{", "{% generation %}", "x" * (MAX_TEMPLATE_CHARACTERS + 1)]
)
def test_a_template_that_cannot_be_used_is_refused_when_it_is_loaded(source: str) -> None:
    with pytest.raises(ValueError, match="the chat template "):
        template(source)

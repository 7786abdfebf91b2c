"""Models beyond the defaults: of other kinds, added later, broken, busy."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from threading import Event

import pytest
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb

from services.kit.errors import FailedPrecondition, Reason
from services.store.store import Store
from services.tokenizer.batcher import QueueLimits
from services.tokenizer.hugging_face import HuggingFaceTokenizer
from services.tokenizer.library import Library
from tests.contract.tokenizer.serving import offsets, refusal, serving
from tests.eventually import eventually
from tests.real_models import CHAT, EMBEDDER
from tests.sentence_pieces import model

TEMPLATE = "{% for each in messages %}{{ each.content }}{{ eos_token }}{% endfor %}"


def entry(name: str, source: str) -> str:
    return f'[[model]]\nname = "{name}"\ntask = "generate"\nsource = "{source}"\n'


def catalogue(folder: Path, *entries: str) -> Path:
    path = folder / "catalogue.toml"
    path.write_text("".join(entries))
    return path


def pieces(folder: Path) -> str:
    """Write a model that has nothing but SentencePiece; return its source."""
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(model())
    config = {"eos_token": "</s>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text('{"eos_token_id": 2}')
    return f"file://{folder}"


def ask(name: str, *texts: str) -> pb.EncodeRequest:
    return pb.EncodeRequest(model=name, inputs=[pb.EncodeInput(text=text) for text in texts])


async def test_a_model_with_only_sentence_piece_is_served_all_the_same(tmp_path: Path) -> None:
    path = catalogue(tmp_path, entry("pieces", pieces(tmp_path / "pieces")))
    said = Chat(messages=[ChatMessage(role="user", content="the")])
    async with serving(catalogue=path, cache=Store(tmp_path / "cache")) as running:
        stub = running.stub
        inputs = [pb.EncodeInput(text="the of"), pb.EncodeInput(text="the"), pb.EncodeInput(chat=said)]
        request = pb.EncodeRequest(
            model="pieces",
            inputs=inputs,
            return_offsets=True,
            return_attention_mask=True,
            padding=pb.Padding(),
            truncation=pb.Truncation(max_tokens=3),
        )
        long, short, chat = (await stub.Encode(request)).encodings
        decoded = await stub.Decode(pb.DecodeRequest(model="pieces", sequences=[{"ids": long.ids}]))
        [listed] = (await stub.ListTokenizers(pb.ListTokenizersRequest())).tokenizers
        artifact = stub.GetArtifact(pb.GetArtifactRequest(digest=listed.digest))
        parts = [part async for part in artifact]

    assert long.ids[0] == 1
    assert offsets(long) == [(0, 0), (0, 3), (3, 6)]
    assert list(short.attention_mask) == [1, 1, 0]
    assert list(chat.ids) == [short.ids[1], 2, 2]
    assert list(decoded.texts) == ["the of"]
    assert listed.format == parts[0].header.format == pb.ARTIFACT_FORMAT_SENTENCEPIECE
    assert list(listed.end_token_ids) == [2]
    assert b"".join(part.chunk for part in parts) == model()


async def is_there(library: Library, name: str) -> bool:
    try:
        await library.get(name)
    except FailedPrecondition:
        return False
    return True


async def test_a_model_that_cannot_be_had_fails_alone_and_comes_back_by_itself(tmp_path: Path) -> None:
    missing = tmp_path / "later"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text('{"no": "tokenizer"}')
    path = catalogue(tmp_path, entry("later", f"file://{missing}"), entry("broken", f"file://{broken}"))
    async with serving(catalogue=path, preload=["later", "broken", EMBEDDER]) as running:
        for name in ("later", "broken"):
            refused = await refusal(running.stub.Encode(ask(name, "a")))
            assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", Reason.MODEL_SOURCE_INVALID)
            assert refused.metadata["model"] == name
        assert (await running.stub.Encode(ask(EMBEDDER, "a"))).encodings
        listed = (await running.stub.ListTokenizers(pb.ListTokenizersRequest())).tokenizers
        assert {"later", "broken"}.isdisjoint(each.model for each in listed)

        pieces(missing)
        await eventually(lambda: is_there(running.library, "later"), within=60)
        assert (await running.stub.Encode(ask("later", "the"))).encodings


async def test_a_template_that_refuses_is_heard(tmp_path: Path) -> None:
    source = pieces(tmp_path / "pieces")
    config = {
        "eos_token": "</s>",
        "chat_template": "{{ raise_exception('Only one system message, please.') }}",
    }
    (tmp_path / "pieces" / "tokenizer_config.json").write_text(json.dumps(config))
    said = Chat(messages=[ChatMessage(role="user", content="the")])
    path = catalogue(tmp_path, entry("strict", source))
    async with serving(catalogue=path, cache=Store(tmp_path / "cache")) as running:
        request = pb.EncodeRequest(
            model="strict", inputs=[pb.EncodeInput(text="a"), pb.EncodeInput(chat=said)]
        )
        refused = await refusal(running.stub.Encode(request))
    assert refused.code == "INVALID_ARGUMENT"
    [violation] = refused.violations
    assert (violation.field, violation.description) == ("inputs[1].chat", "Only one system message, please.")


async def test_a_model_added_to_the_catalogue_is_there_without_a_restart(tmp_path: Path) -> None:
    path = catalogue(tmp_path, "")
    async with serving(catalogue=path, cache=Store(tmp_path / "cache")) as running:
        assert (await refusal(running.stub.Encode(ask("new", "the")))).reason == Reason.MODEL_NOT_FOUND
        catalogue(tmp_path, entry("new", pieces(tmp_path / "new")))
        os.utime(path, ns=(1, 1))
        assert (await running.stub.Encode(ask("new", "the"))).encodings[0].ids


class Gate:
    """Holds up every batch of the real library until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened, self.batches = Event(), Event(), []
        encode = HuggingFaceTokenizer.encode

        def held(tokenizer: HuggingFaceTokenizer, items: list[str], **options: bool) -> object:
            self.batches.append(list(items))
            self.entered.set()
            assert self.opened.wait(100)
            return encode(tokenizer, items, **options)

        monkeypatch.setattr(HuggingFaceTokenizer, "encode", held)


async def test_concurrent_calls_travel_together_and_cancelled_ones_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(monkeypatch)
    async with serving(preload=[CHAT, EMBEDDER]) as running:
        first = running.stub.Encode(ask(CHAT, "first"))
        assert await asyncio.to_thread(gate.entered.wait, 60)
        waiting = [running.stub.Encode(ask(CHAT, f"call {number}")) for number in range(5)]
        counting = running.stub.CountTokens(
            pb.CountTokensRequest(model=CHAT, inputs=[pb.EncodeInput(text="count")])
        )
        queue = (await running.library.get(CHAT))._small

        async def all_wait() -> bool:
            return len(queue._queue) == 6

        async def one_is_gone() -> bool:
            return any(each.answer.done() for each in queue._queue)

        await eventually(all_wait, within=60)
        waiting[0].cancel()
        await eventually(one_is_gone, within=60)
        gate.opened.set()
        answers = [*await asyncio.gather(first, *waiting[1:]), await counting]

    assert len(answers) == 6
    assert gate.batches[0] == ["first"]
    assert sorted(gate.batches[1]) == ["call 1", "call 2", "call 3", "call 4", "count"]


async def test_a_full_queue_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with serving(preload=[CHAT, EMBEDDER], limits=QueueLimits(calls=1)) as running:
        first = running.stub.Encode(ask(CHAT, "first"))
        assert await asyncio.to_thread(gate.entered.wait, 60)
        others = [running.stub.Encode(ask(CHAT, f"call {number}")) for number in range(3)]
        refusals = [asyncio.ensure_future(refusal(each)) for each in others]
        done, pending = await asyncio.wait(refusals, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        refused = done.pop().result()
        gate.opened.set()
        await first
        for each in pending:
            each.cancel()

    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", Reason.QUEUE_FULL)
    assert refused.metadata == {"model": CHAT, "limit": "1"}
    assert refused.retry_after


async def test_an_expired_call_is_dropped_and_its_deadline_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with serving(preload=[CHAT]) as running:
        first = running.stub.Encode(ask(CHAT, "first"))
        assert await asyncio.to_thread(gate.entered.wait, 60)
        refused = await refusal(running.stub.Encode(ask(CHAT, "late"), timeout=0.1))
        gate.opened.set()
        await first
        await running.stub.Encode(ask(CHAT, "next"))

    assert refused.code == "DEADLINE_EXCEEDED"
    assert gate.batches == [["first"], ["next"]]

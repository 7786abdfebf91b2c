"""generate, chat, embed and models against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trunkline.inference.v1.sampling_pb2 import Task

from services.store.catalogue import Catalogue
from services.store.store import Store
from tests.unit.cli.double import CONTEXT_WORDS, EMBEDDER, GENERATOR, Double, model

Trunkline = Callable[..., tuple[int, str, str]]


def test_generate_sends_the_prompt_as_a_chat_and_prints_the_answer(double: Double, trunkline: Trunkline):
    assert trunkline("generate", "--system", "Be brief.", "Hello", "there") == (0, "Hello there \n", "")
    messages = [(message.role, message.content) for message in double.asked[0].chat.messages]
    assert messages == [("system", "Be brief."), ("user", "Hello there")]
    assert double.asked[0].model == GENERATOR


def test_generate_raw_sends_the_prompt_as_it_stands(double: Double, trunkline: Trunkline):
    assert trunkline("generate", "--raw", "The sea is")[0] == 0
    assert double.asked[0].prompt == "The sea is"


def test_generate_reads_its_prompt_from_standard_input(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    assert trunkline("generate")[1] == "from a pipe \n"


def test_generate_asks_for_the_sampling_that_was_given_and_no_other(double: Double, trunkline: Trunkline):
    options = ["--max-tokens", "7", "--temperature", "0", "--seed", "3", "--stop", "END", "--stop", "."]
    assert trunkline("generate", *options, "Hello")[0] == 0
    asked = double.asked[0]
    assert (asked.max_tokens, asked.temperature, asked.seed, list(asked.stop)) == (7, 0, 3, ["END", "."])
    assert not asked.HasField("top_p")
    assert not asked.HasField("top_k")


def test_generate_prints_the_whole_answer_as_json(double: Double, trunkline: Trunkline):
    status, out, _ = trunkline("generate", "--json", "Hello")
    answer = json.loads(out)
    assert status == 0
    assert (answer["text"], answer["finish_reason"]) == ("Hello ", "stop")
    assert answer["usage"]["completion_tokens"] == 1
    assert [answer["trace_id"]] == double.trace_ids


def test_a_negative_number_of_tokens_is_a_usage_error(
    double: Double, trunkline: Trunkline, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        trunkline("generate", "--max-tokens", "-1", "Hello")
    assert "--max-tokens" in capsys.readouterr().err


def test_without_a_model_that_generates_the_sentence_says_so(double: Double, trunkline: Trunkline):
    double.models = [model(EMBEDDER, Task.TASK_EMBED)]
    status, _, err = trunkline("generate", "Hello")
    assert status == 1
    assert "No model that generates text is ready here" in err


def test_of_several_models_the_default_one_is_asked(double: Double, trunkline: Trunkline):
    double.models.append(model("other", Task.TASK_GENERATE))
    assert trunkline("generate", "Hello")[0] == 0
    assert double.asked[0].model == GENERATOR


def test_of_several_models_without_the_default_one_a_name_is_wanted(double: Double, trunkline: Trunkline):
    double.models = [model(name, Task.TASK_GENERATE) for name in ("one", "two")]
    assert "--model (one, two)" in trunkline("generate", "Hello")[2]


def test_chat_through_a_pipe_keeps_what_was_said(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    assert trunkline("chat") == (0, "one \ntwo \n", "")
    said = [(message.role, message.content) for message in double.asked[1].chat.messages]
    assert said == [("user", "one"), ("assistant", "one "), ("user", "two")]


def test_chat_forgets_the_oldest_when_the_context_is_full(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    turn = " ".join(["word"] * (CONTEXT_WORDS // 2))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{turn}\nlast\n"))
    assert trunkline("chat", "--json")[0] == 0
    assert [message.content for message in double.asked[-1].chat.messages] == ["last"]


def test_embed_prints_vectors_and_how_alike_they_are(double: Double, trunkline: Trunkline):
    status, out, _ = trunkline("embed", "aaa", "aaaa", "bbb")
    assert status == 0
    assert "[+3.0000, +0.0000, +0.5000, … 3 values]  aaa" in out
    assert "0.027" in out


def test_embed_prints_every_value_as_json(double: Double, trunkline: Trunkline):
    _, out, _ = trunkline("embed", "--json", "--dimensions", "2", "aab", "b")
    assert json.loads(out)["embeddings"] == [[2.0, 1.0], [0.0, 1.0]]


def test_embed_takes_more_texts_than_one_call_holds(
    double: Double, trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n" * 3000))
    answer = json.loads(trunkline("embed", "--json")[1])
    assert len(answer["embeddings"]) == 3000
    assert answer["usage"]["prompt_tokens"] == 3000


def test_models_lists_every_page(double: Double, trunkline: Trunkline):
    status, out, _ = trunkline("models", "list")
    assert status == 0
    assert out.index(EMBEDDER) < out.index(GENERATOR)


def test_models_lists_as_json(double: Double, trunkline: Trunkline):
    listed = json.loads(trunkline("models", "list", "--json")[1])["models"]
    assert [each["name"] for each in listed] == [EMBEDDER, GENERATOR]
    assert listed[0]["versions"][0]["ready_workers"] == 1


def test_models_path_names_the_folder_of_a_model_once_it_is_here(
    trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    weights = tmp_path / "mine"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(f'[[model]]\nname = "mine"\ntask = "embed"\nsource = "file://{weights}"\n')
    monkeypatch.setenv("TRUNKLINE_CATALOGUE", str(catalogue))
    monkeypatch.setenv("TRUNKLINE_CACHE", str(tmp_path / "cache"))
    status, _, err = trunkline("models", "path", "mine")
    assert status == 1
    assert "mine is not in" in err
    fetched = Store(tmp_path / "cache").fetch(Catalogue.read(catalogue).get("mine"))
    assert trunkline("models", "path", "mine") == (0, f"{fetched}\n", "")


def test_models_path_of_an_unknown_model_says_what_there_is(trunkline: Trunkline):
    status, _, err = trunkline("models", "path", "nobody")
    assert status == 1
    assert GENERATOR in err

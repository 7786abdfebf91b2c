"""Generate: text in, text out, one finish at the end."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1.sampling_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    SamplingParams,
    TokenIds,
    Usage,
)
from trunkline.worker.v1.worker_pb2 import DefaultSampling

from services.kit.errors import Reason
from tests.contract.front.mesh import Mesh, refusal
from tests.contract.front.worker_double import CONTEXT, Served, finish, hangs, says


def chat(*messages: tuple[str, str], continue_last_message: bool = False) -> pb.Chat:
    return pb.Chat(
        messages=[pb.ChatMessage(role=role, content=content) for role, content in messages],
        continue_last_message=continue_last_message,
    )


async def test_a_prompt_becomes_ids_and_ids_become_text(mesh: Mesh) -> None:
    mesh.worker.script = says("Os", "lo", ".")
    answer = await mesh.generate("capital of Norway?")
    assert answer.text == "Oslo."
    assert bytes(answer.ids) == b"Oslo."
    assert bytes(mesh.worker.generates[0].token_ids) == b"capital of Norway?"
    assert (mesh.worker.generates[0].model, mesh.worker.generates[0].version) == ("writer", "1")


async def test_the_finish_tells_reason_usage_timings_and_version(mesh: Mesh) -> None:
    finish_ = (await mesh.generate("ab")).finish
    assert finish_.reason == FINISH_REASON_STOP
    assert finish_.usage == Usage(prompt_tokens=2, completion_tokens=4, cached_tokens=3)
    assert finish_.timings.prefill.ToMilliseconds() == 7
    assert finish_.model_version == "1"
    assert not finish_.HasField("stop")


async def test_a_conversation_goes_through_the_models_template(mesh: Mesh) -> None:
    await mesh.generate(chat=chat(("user", "hi"), ("assistant", "he"), continue_last_message=True))
    assert bytes(mesh.worker.generates[0].token_ids) == b"hi\nhe"
    assert mesh.tokenizer.encodes[0].inputs[0].chat.continue_last_message


async def test_a_template_that_refuses_names_the_callers_field(mesh: Mesh) -> None:
    error = await refusal(mesh.generate(chat=chat(("user", "hi"), ("wizard", "abracadabra"))))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.FIELD_INVALID)
    assert [each.field for each in error.violations] == ["chat.messages[1].role"]


async def test_a_model_without_a_template_refuses_conversations(mesh: Mesh) -> None:
    error = await refusal(mesh.generate(chat=chat(("nobody", "hi"))))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.TASK_UNSUPPORTED)


async def test_token_ids_need_no_encode(mesh: Mesh) -> None:
    answer = await mesh.generate(token_ids=TokenIds(ids=b"abc"))
    assert answer.text == "Oslo"
    assert list(mesh.worker.generates[0].token_ids) == [97, 98, 99]
    assert not mesh.tokenizer.encodes


async def test_half_a_character_waits_for_the_other_half(mesh: Mesh) -> None:
    parrot = "🦜".encode()
    mesh.worker.script = says(parrot[:1], parrot[1:3], parrot[3:], parrot[:2])
    answer = await mesh.generate()
    assert answer.text == "🦜\ufffd"
    assert bytes(answer.ids) == parrot + parrot[:2]


async def test_the_callers_sampling_lies_over_the_models(mesh: Mesh) -> None:
    advised = DefaultSampling(temperature=0.25, top_k=40)
    await mesh.worker.report(Served(defaults=advised))
    answered = mesh.worker.generates
    while not answered or not answered[-1].sampling.top_k:  # until the report has arrived
        await mesh.generate(max_tokens=5, temperature=0, seed=9, logprobs=2, stop_token_ids=[7], top_p=0.5)
    assert answered[-1].sampling == SamplingParams(
        max_tokens=5,
        temperature=0,
        top_p=0.5,
        top_k=40,
        repetition_penalty=1,
        seed=9,
        logprobs=2,
        stop_token_ids=[7],
    )


async def test_log_probabilities_come_one_a_token(mesh: Mesh) -> None:
    answer = await mesh.generate(logprobs=1)
    assert [each.token_id for delta in answer.deltas for each in delta.logprobs] == answer.ids


async def test_an_answer_gets_what_the_context_leaves(mesh: Mesh) -> None:
    await mesh.generate("x" * 500)
    assert mesh.worker.generates[0].sampling.max_tokens == CONTEXT - 500


@pytest.mark.parametrize(
    ("prompt", "fields", "field"),
    [("x" * CONTEXT, {}, "prompt"), ("x" * 500, {"max_tokens": 13}, "max_tokens")],
)
async def test_what_does_not_fit_the_context_is_refused(
    mesh: Mesh, prompt: str, fields: dict[str, int], field: str
) -> None:
    error = await refusal(mesh.generate(prompt, **fields))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.CONTEXT_LENGTH_EXCEEDED)
    assert error.metadata["context_length"] == str(CONTEXT)
    assert [each.field for each in error.violations] == [field]


async def test_ids_outside_the_vocabulary_are_refused(mesh: Mesh) -> None:
    error = await refusal(mesh.generate(token_ids=TokenIds(ids=[1, 256])))
    assert [each.field for each in error.violations] == ["token_ids.ids[1]"]


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"model": "nobody"}, "NOT_FOUND", Reason.MODEL_NOT_FOUND),
        ({"model_version": "7"}, "NOT_FOUND", Reason.VERSION_NOT_FOUND),
        ({"model": "embedder"}, "FAILED_PRECONDITION", Reason.TASK_UNSUPPORTED),
        ({"model": "Writer"}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        ({"prompt": ""}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
        ({"temperature": float("nan")}, "INVALID_ARGUMENT", Reason.FIELD_INVALID),
    ],
)
async def test_a_wrong_request_is_refused_with_its_reason(
    mesh: Mesh, fields: dict[str, str], code: str, reason: Reason
) -> None:
    error = await refusal(mesh.generate(**fields))
    assert (error.code, error.reason) == (code, reason)
    assert not mesh.worker.generates


async def test_a_stop_string_ends_the_answer_and_the_workers_call(mesh: Mesh) -> None:
    mesh.worker.script = hangs("Oslo.\n", "\nUser: and", " more")
    answer = await mesh.generate("ab", stop=["\n\nUser:", "never"])
    assert answer.text == "Oslo."
    assert (answer.finish.reason, answer.finish.stop) == (FINISH_REASON_STOP, "\n\nUser:")
    assert answer.finish.usage == Usage(prompt_tokens=2, completion_tokens=len("Oslo.\n\nUser:"))
    assert bytes(answer.ids) == b"Oslo.\n\nUser:"
    await mesh.worker.until(lambda worker: worker.cancelled == 1)


async def test_the_same_stop_is_found_however_tokens_travel(mesh: Mesh) -> None:
    for script in (hangs(*"Oslo.END!"), hangs("Oslo.END!"), hangs("Oslo.E", "ND!")):
        mesh.worker.script = script
        answer = await mesh.generate(stop=["END"], logprobs=1)
        assert (answer.text, bytes(answer.ids)) == ("Oslo.", b"Oslo.END")


async def test_what_looked_like_a_stop_string_comes_with_the_end(mesh: Mesh) -> None:
    mesh.worker.script = says("Oslo", "EN")
    answer = await mesh.generate(stop=["END"])
    assert answer.text == "OsloEN"
    assert not answer.finish.HasField("stop")


async def test_the_workers_reason_is_passed_on(mesh: Mesh) -> None:
    async def script(_request: object):
        yield finish(1, 0, FINISH_REASON_LENGTH)

    mesh.worker.script = script
    assert (await mesh.generate()).finish.reason == FINISH_REASON_LENGTH


async def test_bytes_that_are_no_request_are_refused(mesh: Mesh) -> None:
    call = mesh.channel.unary_stream("/trunkline.inference.v1.InferenceService/Generate")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(b"\xff\xff\xff").read()
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_whose_call_it_is_and_how_urgent_travels_to_the_worker(mesh: Mesh) -> None:
    await mesh.generate(tenant="acme", priority=-7)
    (request,) = mesh.worker.generates
    assert (request.tenant, request.priority) == ("acme", -7)


@pytest.mark.parametrize(
    ("fields", "field"), [({"tenant": "\u00e4" * 33}, "tenant"), ({"priority": 101}, "priority")]
)
async def test_a_standing_out_of_range_is_refused(mesh: Mesh, fields: dict[str, Any], field: str) -> None:
    error = await refusal(mesh.generate(**fields))
    assert [each.field for each in error.violations] == [field]

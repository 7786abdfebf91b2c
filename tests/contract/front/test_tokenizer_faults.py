"""Without the tokenizer service, text fails at once and token ids still work."""

from __future__ import annotations

from dataclasses import replace

import grpc
from trunkline.inference.v1.sampling_pb2 import TokenIds

from services.kit.errors import Reason
from tests.contract.front.mesh import SETTINGS, Mesh, refusal, running_mesh
from tests.contract.front.tokenizer_double import TokenizerDouble
from tests.contract.front.worker_double import WorkerDouble
from tests.eventually import eventually

IDS = TokenIds(ids=b"ab")
UNKNOWN = "0" * 64


async def test_a_dead_tokenizer_fails_text_without_waiting_for_its_limit() -> None:
    async with running_mesh(WorkerDouble(), settings=replace(SETTINGS, encode_limit=1e3)) as mesh:
        await mesh.hosts.kill(mesh.tokenizer)
        for call in (mesh.generate, mesh.generate, mesh.embed):
            error = await refusal(call("a"))
            assert (error.code, error.reason) == ("UNAVAILABLE", Reason.TOKENIZER_UNAVAILABLE)
            assert error.retry_after


async def test_token_ids_still_become_text_by_the_artefact_that_is_here(mesh: Mesh) -> None:
    await mesh.generate()
    assert mesh.tokenizer.fetches == 1
    await mesh.hosts.kill(mesh.tokenizer)
    answer = await mesh.generate(token_ids=IDS, stop=["o"])
    assert (answer.text, answer.finish.stop) == ("Osl", "o")
    assert (await mesh.embed(token_ids=[IDS])).embeddings
    assert mesh.tokenizer.fetches == 1


async def test_without_an_artefact_token_ids_stream_without_text() -> None:
    async with running_mesh(WorkerDouble(), digest=UNKNOWN) as mesh:
        answer = await mesh.generate(token_ids=IDS)
        assert (answer.text, bytes(answer.ids)) == ("", b"Oslo")
        assert answer.finish.usage.completion_tokens == 4
        error = await refusal(mesh.generate(token_ids=IDS, stop=["o"]))
        assert error.reason == Reason.TOKENIZER_UNAVAILABLE


async def test_another_tokenizer_than_the_workers_is_not_used() -> None:
    async with running_mesh(WorkerDouble(), digest=UNKNOWN) as mesh:
        error = await refusal(mesh.generate("a"))
        assert (error.reason, error.metadata) == (Reason.TOKENIZER_UNAVAILABLE, {"model": "writer"})
        assert not mesh.worker.generates


async def test_a_tokenizer_that_comes_back_is_used_again(mesh: Mesh) -> None:
    await mesh.hosts.kill(mesh.tokenizer)
    assert (await refusal(mesh.generate())).reason == Reason.TOKENIZER_UNAVAILABLE
    again = TokenizerDouble()
    await mesh.hosts.start(again, mesh.hosts.addresses[mesh.tokenizer])

    async def answers() -> bool:
        try:
            return (await mesh.generate()).text == "Oslo"
        except grpc.aio.AioRpcError:
            return False

    await eventually(answers, within=60)


async def test_a_frozen_tokenizer_is_given_up_at_its_limit() -> None:
    async with running_mesh(WorkerDouble(), settings=replace(SETTINGS, encode_limit=0.1)) as mesh:
        mesh.tokenizer.open.clear()
        assert (await refusal(mesh.generate())).reason == Reason.TOKENIZER_UNAVAILABLE

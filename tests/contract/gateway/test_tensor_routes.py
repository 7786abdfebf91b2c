"""Tensor-level calls: found by model, straight to a worker."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from tests.contract.gateway.fake_worker import FakeWorker
from tests.contract.gateway.harness import RunningGateway, details, eventually, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_call_for_the_second_model_reaches_the_second_worker(standing: RunningGateway) -> None:
    assert [await standing.infer(model) for model in ("first", "second") * 5] == ["w0 0 -", "w1 0 -"] * 5


async def test_a_shared_model_is_answered_by_both_workers(standing: RunningGateway) -> None:
    assert {await standing.infer("shared") for _ in range(40)} == {"w0 0 -", "w1 0 -"}


@pytest.mark.parametrize("model", ["third", "", "first/../second", "model.first"])
async def test_an_unknown_model_is_not_found(standing: RunningGateway, model: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await standing.infer(model)
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(failed.value) == "MODEL_NOT_FOUND"
    assert not any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details(failed.value).details)


async def test_a_callers_own_cluster_header_counts_for_nothing(standing: RunningGateway) -> None:
    own = ("x-trunkline-cluster", "model.second")
    assert await standing.infer("first", own) == "w0 0 -"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await standing.infer("third", own, own)
    assert reason(failed.value) == "MODEL_NOT_FOUND"


async def test_a_model_that_still_loads_is_not_ready_rather_than_not_found(
    standing: RunningGateway, standing_pair: list[FakeWorker]
) -> None:
    standing_pair[0].have(["first", "shared"], loading=["slow"])
    await eventually(lambda: _is_known(standing, "slow"), within=60)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await standing.infer("slow")
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(failed.value) == "MODEL_NOT_READY"
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details(failed.value).details)


async def _is_known(standing: RunningGateway, model: str) -> bool:
    table = standing.gateway.board.table
    return table.model(model) is not None and standing.gateway.publisher.shown == table.revision


async def test_a_message_near_the_limit_passes(standing: RunningGateway) -> None:
    size = 60 * 1024 * 1024
    assert await standing.infer("first", body=bytes(size)) == f"w0 {size} -"

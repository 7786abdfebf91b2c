"""Whatever comes in, by any rpc: an answer or a clear refusal, and the process lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.policy.v1 import episodes_pb2, policies_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.kit.errors import Reason
from services.kit.status import from_rpc_error
from services.rl_policy.service import SERVICE
from tests.contract.rl_policy.odd_messages import Known, messages
from tests.contract.rl_policy.policy_process import policy_process
from tests.contract.rl_policy.serving import POLICY, corridor

ALLOWED = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "ABORTED",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
}
SLOW = {"StartTraining", "Checkpoint", "StopTraining", "WatchTraining", "DeletePolicy"}
"""Each that is right costs a process, waits for one, or takes the policy away that the others ask for."""
RPCS = [method for method in SERVICE.methods if method.name not in SLOW]
seeded = settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(seeded, max_examples=170, derandomize=False)


class Caller:
    """A client of one process, in which a policy and some episodes are there to be named."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._stub = PolicyServiceStub(channel)
        self._stub.CreatePolicy(corridor())
        start = episodes_pb2.StartEpisodeRequest(policy=POLICY)
        episodes = [self._stub.StartEpisode(start).episode_id for _ in range(4)]
        self.known: Known = {
            "policy": [POLICY],
            "episode_id": episodes,
            "step": [0, 1],
            "version": [0, 1],
            "environments": [1, 2],
            "size": [1, 5],
        }

    def call(self, method: MethodDescriptor, sent: list[Any]) -> None:
        """Send messages, read the first answers; raise AssertionError for a refusal that is not clear."""
        kind = ("unary", "stream")
        make = getattr(self._channel, f"{kind[method.client_streaming]}_{kind[method.server_streaming]}")
        rpc = make(
            f"/{SERVICE.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        try:
            answer = rpc(iter(sent) if method.client_streaming else sent[0], timeout=100)
            if method.server_streaming:
                for _ in zip(answer, range(5), strict=False):
                    pass
                answer.cancel()
        except grpc.RpcError as error:
            refused = from_rpc_error(error)
            assert refused.code in ALLOWED, (method.name, refused, sent)
            assert refused.reason in set(Reason) - {Reason.INTERNAL}

    def alive(self) -> bool:
        """Whether the process answers."""
        return bool(self._stub.ListPolicies(policies_pb2.ListPoliciesRequest()).policies)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder: Path = tmp_path_factory.mktemp("policies")
    with (
        policy_process(f"sqlite:///{folder}/policies.db", folder / "log") as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        caller = Caller(channel)
        yield caller
        assert caller.alive()


def check(caller: Caller, method: MethodDescriptor, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3)) if method.client_streaming else 1
    caller.call(method, [data.draw(messages(method.input_type, caller.known)) for _ in range(count)])


@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.name)
@seeded
@given(data=st.data())
def test_odd_requests_are_answered_or_refused(caller: Caller, method: MethodDescriptor, data: st.DataObject):
    check(caller, method, data)


@pytest.mark.soak
@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.name)
@thorough
@given(data=st.data())
def test_many_odd_requests_are_answered_or_refused(
    caller: Caller, method: MethodDescriptor, data: st.DataObject
):
    """30 rpcs, 170 requests each: above 5,000."""
    check(caller, method, data)

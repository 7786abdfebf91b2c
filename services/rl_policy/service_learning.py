"""The rpcs of policies and their training: decode, one call of the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

from collections.abc import AsyncIterator
from time import time
from typing import Any

from trunkline.policy.v1 import policies_pb2 as pb
from trunkline.policy.v1 import training_pb2

from services.kit.errors import invalid
from services.kit.names import check_name
from services.kit.paging import page
from services.rl_policy.episode_messages import timestamp
from services.rl_policy.learning_messages import encode_policy, encode_status, interval_of, training_plan
from services.rl_policy.parts import Parts
from services.rl_policy.specification_messages import decode_specification


class LearningRpcs:
    """Creates policies, and trains them."""

    _parts: Parts

    async def CreatePolicy(self, request: pb.CreatePolicyRequest, _context: Any) -> pb.CreatePolicyResponse:
        """Create a policy."""
        name = check_name("name", request.name)
        served = await self._parts.registry.create(name, decode_specification(request))
        return pb.CreatePolicyResponse(policy=encode_policy(served))

    async def GetPolicy(self, request: pb.GetPolicyRequest, _context: Any) -> pb.GetPolicyResponse:
        """Return a policy."""
        served = await self._parts.registry.get(check_name("name", request.name))
        return pb.GetPolicyResponse(policy=encode_policy(served))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, _context: Any) -> pb.ListPoliciesResponse:
        """List the policies."""
        everything = await self._parts.registry.list()
        listed, following = page(everything, lambda each: each.name, request.page_size, request.page_token)
        return pb.ListPoliciesResponse(policies=map(encode_policy, listed), next_page_token=following)

    async def DeletePolicy(self, request: pb.DeletePolicyRequest, _context: Any) -> pb.DeletePolicyResponse:
        """Delete a policy with everything of it."""
        await self._parts.registry.delete(check_name("name", request.name))
        return pb.DeletePolicyResponse()

    async def StartTraining(
        self, request: training_pb2.StartTrainingRequest, _context: Any
    ) -> training_pb2.StartTrainingResponse:
        """Start to learn."""
        plan = training_plan(request)
        served = await self._parts.registry.get(request.policy)
        version = request.from_version if request.HasField("from_version") else None
        if version is not None and not 0 < version < 1 << 63:
            raise invalid("from_version", "must be the number of a version")
        status = await self._parts.registry.train(served, plan, version)
        return training_pb2.StartTrainingResponse(status=encode_status(status))

    async def PauseTraining(
        self, request: training_pb2.PauseTrainingRequest, _context: Any
    ) -> training_pb2.PauseTrainingResponse:
        """Hold training still."""
        served = await self._parts.registry.get(request.policy)
        status = await served.training.pause()
        return training_pb2.PauseTrainingResponse(status=encode_status(status))

    async def ResumeTraining(
        self, request: training_pb2.ResumeTrainingRequest, _context: Any
    ) -> training_pb2.ResumeTrainingResponse:
        """Go on with training."""
        served = await self._parts.registry.get(request.policy)
        status = await served.training.resume()
        return training_pb2.ResumeTrainingResponse(status=encode_status(status))

    async def StopTraining(
        self, request: training_pb2.StopTrainingRequest, _context: Any
    ) -> training_pb2.StopTrainingResponse:
        """Stop training, after a checkpoint."""
        served = await self._parts.registry.get(request.policy)
        status = await served.training.stop()
        await served.catch_up()
        await served.save()
        return training_pb2.StopTrainingResponse(status=encode_status(status))

    async def GetTraining(
        self, request: training_pb2.GetTrainingRequest, _context: Any
    ) -> training_pb2.GetTrainingResponse:
        """Return where training stands."""
        served = await self._parts.registry.get(request.policy)
        return training_pb2.GetTrainingResponse(status=encode_status(served.training.status))

    async def WatchTraining(
        self, request: training_pb2.WatchTrainingRequest, _context: Any
    ) -> AsyncIterator[training_pb2.WatchTrainingResponse]:
        """Stream where training stands."""
        interval = interval_of(request)
        served = await self._parts.registry.get(request.policy)
        async for status in served.training.watch(interval):
            yield training_pb2.WatchTrainingResponse(status=encode_status(status), time=timestamp(time()))

"""The rpcs of versions and their traffic: decode, one call of the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from math import isfinite, isinf, sqrt
from typing import Any

from trunkline.policy.v1 import evaluation_pb2, traffic_pb2
from trunkline.policy.v1 import versions_pb2 as pb

from services.kit.errors import FailedPrecondition, Reason, invalid
from services.kit.paging import page
from services.rl_policy import evaluating
from services.rl_policy.learning_messages import encode_traffic, guard_of
from services.rl_policy.parts import Parts
from services.rl_policy.served import Served
from services.rl_policy.store.records import Version
from services.rl_policy.traffic import CANARY, SHADOW, STABLE, Returns
from services.rl_policy.version_messages import (
    encode_estimate,
    encode_incident,
    encode_version,
    method_of,
    newest_first,
)

MAX_LISTED = 10_000
MAX_COMPARED = 16
MAX_EXPLANATION_BYTES = 1_024


class VersionRpcs:
    """Lists, judges and promotes versions."""

    _parts: Parts

    async def ListVersions(self, request: pb.ListVersionsRequest, _context: Any) -> pb.ListVersionsResponse:
        """List the versions that are kept."""
        await self._parts.registry.get(request.policy)
        kept = await asyncio.to_thread(self._parts.store.versions.before, request.policy, None, MAX_LISTED)
        listed, following = page(kept, newest_first, request.page_size, request.page_token)
        return pb.ListVersionsResponse(versions=map(encode_version, listed), next_page_token=following)

    async def GetVersion(self, request: pb.GetVersionRequest, _context: Any) -> pb.GetVersionResponse:
        """Return a version."""
        served = await self._parts.registry.get(request.policy)
        return pb.GetVersionResponse(version=encode_version(await self.version(served, request.version)))

    async def Checkpoint(self, request: pb.CheckpointRequest, _context: Any) -> pb.CheckpointResponse:
        """Keep everything that learning goes on from."""
        served = await self._parts.registry.get(request.policy)
        number = await served.training.checkpoint()
        version = await self.version(served, number or 0)
        return pb.CheckpointResponse(version=encode_version(version))

    async def Promote(
        self, request: traffic_pb2.PromoteRequest, _context: Any
    ) -> traffic_pb2.PromoteResponse:
        """Give a version live episodes."""
        share = request.share if request.HasField("share") else 1.0
        if not (isfinite(share) and 0 < share <= 1):
            raise invalid("share", f"must be above 0 and at most 1, not {share}")
        guard = guard_of(request.guard)
        served = await self._parts.registry.get(request.policy)
        version = await self.version(served, check_version(request.version, "version"))
        await served.set_traffic(served.traffic.promoted(version.number, share, guard))
        return traffic_pb2.PromoteResponse(traffic=encode_traffic(served.traffic))

    async def Rollback(
        self, request: traffic_pb2.RollbackRequest, _context: Any
    ) -> traffic_pb2.RollbackResponse:
        """Take the canary back, or the stable version."""
        if len(request.explanation.encode()) > MAX_EXPLANATION_BYTES:
            raise invalid("explanation", f"must have at most {MAX_EXPLANATION_BYTES} bytes")
        served = await self._parts.registry.get(request.policy)
        before, after = served.traffic, served.traffic.rolled_back()
        if after is None:
            named = {"policy": served.name, "version": str(before.stable)}
            message = f"policy {served.name!r} has nothing to go back to"
            raise FailedPrecondition(Reason.VERSION_UNUSABLE, message, metadata=named)
        await served.set_traffic(after)
        left = before.canary or before.stable
        why = request.explanation or "an operator wanted it"
        await served.report("ROLLED_BACK", f"version {left} was rolled back: {why}", {"version": str(left)})
        return traffic_pb2.RollbackResponse(traffic=encode_traffic(after))

    async def SetShadow(
        self, request: traffic_pb2.SetShadowRequest, _context: Any
    ) -> traffic_pb2.SetShadowResponse:
        """Ask a version beside the one that acts."""
        served = await self._parts.registry.get(request.policy)
        if request.version:
            await self.version(served, check_version(request.version, "version"))
        await served.set_shadow(request.version)
        return traffic_pb2.SetShadowResponse(traffic=encode_traffic(served.traffic))

    async def GetTrafficReport(
        self, request: traffic_pb2.GetTrafficReportRequest, _context: Any
    ) -> traffic_pb2.GetTrafficReportResponse:
        """Return how the versions in traffic do."""
        served = await self._parts.registry.get(request.policy)
        traffic = served.traffic
        acting = [(STABLE, traffic.stable), (CANARY, traffic.canary)]
        variants = [
            _variant(name, version, await served.returns_of(version)) for name, version in acting if version
        ]
        if traffic.shadow:
            variants.append(_shadow(served))
        return traffic_pb2.GetTrafficReportResponse(traffic=encode_traffic(traffic), variants=variants)

    async def ListIncidents(
        self, request: traffic_pb2.ListIncidentsRequest, _context: Any
    ) -> traffic_pb2.ListIncidentsResponse:
        """List incidents, the newest first."""
        await self._parts.registry.get(request.policy)
        kept = await asyncio.to_thread(self._parts.store.incidents.before, request.policy, None, MAX_LISTED)
        listed, following = page(kept, newest_first, request.page_size, request.page_token)
        return traffic_pb2.ListIncidentsResponse(
            incidents=map(encode_incident, listed), next_page_token=following
        )

    async def Evaluate(
        self, request: evaluation_pb2.EvaluateRequest, _context: Any
    ) -> evaluation_pb2.EvaluateResponse:
        """Say how good a version is."""
        method = method_of(request)
        served = await self._parts.registry.get(request.policy)
        number = (await self.version(served, request.version)).number
        estimate = await self._parts.judge.estimate(served, number, method)
        return evaluation_pb2.EvaluateResponse(estimate=encode_estimate(number, estimate))

    async def CompareVersions(
        self, request: evaluation_pb2.CompareVersionsRequest, _context: Any
    ) -> evaluation_pb2.CompareVersionsResponse:
        """Compare versions, the best first."""
        wanted = list(request.versions)
        if not 2 <= len(wanted) <= MAX_COMPARED or len(set(wanted)) != len(wanted):
            raise invalid("versions", f"must be 2 to {MAX_COMPARED}, none twice")
        method = method_of(request)
        served = await self._parts.registry.get(request.policy)
        numbers = [
            (await self.version(served, check_version(each, f"versions[{index}]"))).number
            for index, each in enumerate(wanted)
        ]
        made = [await self._parts.judge.estimate(served, each, method) for each in numbers]
        order, separated = evaluating.ranked(made)
        return evaluation_pb2.CompareVersionsResponse(
            estimates=[encode_estimate(numbers[index], made[index]) for index in order],
            separated=separated,
        )

    async def version(self, served: Served, number: int) -> Version:
        """Return a version that is kept, 0 the newest; raises NotFound (VERSION_NOT_FOUND)."""
        store = self._parts.store.versions
        if number == 0:
            newest = await asyncio.to_thread(store.newest, served.name)
            number = newest.number if newest else 1
        return await asyncio.to_thread(store.get, served.name, min(number, (1 << 63) - 1))


def check_version(number: int, field: str) -> int:
    """Return a version's number; raises InvalidArgument for 0."""
    if number == 0:
        raise invalid(field, "must be given")
    return number


def _variant(name: str, version: int, returns: Returns) -> traffic_pb2.VariantReport:
    deviation = returns.variance
    return traffic_pb2.VariantReport(
        variant=name,
        version=version,
        episodes=returns.count,
        mean_return=returns.mean if returns.count else None,
        return_deviation=None if isinf(deviation) else sqrt(deviation),
    )


def _shadow(served: Served) -> traffic_pb2.VariantReport:
    shadow = served.shadow
    agreement = shadow.agreed / shadow.compared if shadow.compared else None
    return traffic_pb2.VariantReport(
        variant=SHADOW, version=shadow.version, compared_acts=shadow.compared, agreement=agreement
    )

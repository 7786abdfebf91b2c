"""The rpcs of recorded episodes and of bundles: decode, one call of the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from trunkline.policy.v1 import log_pb2 as pb
from trunkline.policy.v1 import versions_pb2

from services.kit.errors import FailedPrecondition, Reason, invalid
from services.rl_policy import bundling
from services.rl_policy.episode_messages import check_tags
from services.rl_policy.importing import Importing
from services.rl_policy.parts import Parts
from services.rl_policy.recording_messages import decode_episode, encode_recording, encode_sample
from services.rl_policy.specification_messages import encode_environment
from services.rl_policy.store.replay import sample
from services.rl_policy.version_messages import encode_version

CHUNK_BYTES = 1 << 20
MAX_SAMPLE = 10_000
PAGE = 16
"""Episodes of one message of an export."""


class DataRpcs:
    """Takes episodes in and gives them away; gives versions away and takes them in."""

    _parts: Parts

    async def ImportEpisodes(
        self, requests: AsyncIterator[pb.ImportEpisodesRequest], _context: Any
    ) -> pb.ImportEpisodesResponse:
        """Take in whole episodes."""
        importing: Importing | None = None
        async for request in requests:
            if importing is None:
                served = await self._parts.registry.get(request.policy)
                importing = Importing(served, self._parts.diary)
            for index, each in enumerate(request.episodes):
                episode = decode_episode(each, importing.specification, f"episodes[{index}]")
                await importing.take(episode)
        if importing is None:
            raise invalid("policy", "must be given in the first message")
        await importing.finish()
        return pb.ImportEpisodesResponse(episodes=importing.episodes, transitions=importing.transitions)

    async def ExportEpisodes(
        self, request: pb.ExportEpisodesRequest, _context: Any
    ) -> AsyncIterator[pb.ExportEpisodesResponse]:
        """Send the episodes that have ended."""
        tags = check_tags(request.tags, "tags")
        version = request.policy_version if request.HasField("policy_version") else None
        served = await self._parts.registry.get(request.policy)
        after = min(request.after_episode_id, (1 << 63) - 1)
        while True:
            page, after = await asyncio.to_thread(
                self._parts.store.recordings.page, served.name, after, PAGE, tags=tags, version=version
            )
            if page:
                episodes = [encode_recording(each, served.specification) for each in page]
                yield pb.ExportEpisodesResponse(episodes=episodes)
            if after == 0:
                return

    async def SampleReplay(self, request: pb.SampleReplayRequest, _context: Any) -> pb.SampleReplayResponse:
        """Draw transitions."""
        if not 1 <= request.size <= MAX_SAMPLE:
            raise invalid("size", f"must be from 1 to {MAX_SAMPLE:,}, not {request.size}")
        if request.window < 0:
            raise invalid("window", f"must be 0 or more, not {request.window}")
        served = await self._parts.registry.get(request.policy)
        drawn = await asyncio.to_thread(
            sample, self._parts.store.log, served.log, request.size, request.seed, request.window
        )
        if drawn is None:
            figures = {"effective": "0", "needed": "1", "estimator": "sample"}
            message = f"the log of policy {served.name!r} is empty"
            raise FailedPrecondition(Reason.EVIDENCE_TOO_THIN, message, metadata=figures)
        return encode_sample(drawn)

    async def GetPolicyBundle(
        self, request: versions_pb2.GetPolicyBundleRequest, _context: Any
    ) -> AsyncIterator[versions_pb2.GetPolicyBundleResponse]:
        """Send a version: a header, then chunks."""
        form = bundling.form_of(request.format, "format")
        served = await self._parts.registry.get(request.policy)
        version, content = await bundling.bundle(self._parts.store, served, request.version, form)
        yield versions_pb2.GetPolicyBundleResponse(
            header=versions_pb2.BundleHeader(
                version=encode_version(version),
                format=request.format,
                size_bytes=len(content),
                digest=hashlib.sha256(content).hexdigest(),
                environment=encode_environment(served.specification),
            )
        )
        for start in range(0, len(content), CHUNK_BYTES):
            yield versions_pb2.GetPolicyBundleResponse(chunk=content[start : start + CHUNK_BYTES])

    async def PublishVersion(
        self, requests: AsyncIterator[versions_pb2.PublishVersionRequest], _context: Any
    ) -> versions_pb2.PublishVersionResponse:
        """Take in a version that was learned elsewhere."""
        header: versions_pb2.PublishHeader | None = None
        content = bytearray()
        async for request in requests:
            if (request.WhichOneof("part") == "header") != (header is None):
                raise invalid("header", "must be the first message, and no other")
            if header is None:
                header = request.header
                continue
            content += request.chunk
            if len(content) > bundling.MAX_BYTES:
                raise invalid("chunk", f"must be at most {bundling.MAX_BYTES:,} bytes together")
        if header is None:
            raise invalid("header", "must be the first message")
        served = await self._parts.registry.get(header.policy)
        offer = bundling.Offer(
            bundling.form_of(header.format, "header.format"),
            header.digest,
            dict(header.metrics),
            bytes(content),
        )
        version = await bundling.publish(self._parts.store, served, offer)
        return versions_pb2.PublishVersionResponse(version=encode_version(version))

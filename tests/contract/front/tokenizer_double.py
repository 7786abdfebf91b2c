"""A tokenizer service whose ids are the bytes of UTF-8."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from tokenizers import Tokenizer, decoders, models
from trunkline.tokenizer.v1 import tokenizer_pb2
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import (
    TokenizerServiceServicer,
)

from services.kit.errors import FailedPrecondition, NotFound, Reason, invalid


def _letters() -> list[str]:
    """Return the letter that a byte-level tokenizer writes for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    odd = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(odd)) for byte in range(256)]


def _artifact() -> bytes:
    """Return a tokenizer whose ids are the bytes of UTF-8."""
    tokenizer = Tokenizer(models.BPE(vocab={each: byte for byte, each in enumerate(_letters())}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer.to_str().encode()


ARTIFACT = _artifact()
DIGEST = sha256(ARTIFACT).hexdigest()


class TokenizerDouble(TokenizerServiceServicer):
    """Ids are bytes. A chat's messages are joined by newlines; the role "wizard" has no template."""

    def __init__(self) -> None:
        self.encodes: list[tokenizer_pb2.EncodeRequest] = []
        self.fetches = 0
        self.called = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def Encode(
        self, request: tokenizer_pb2.EncodeRequest, _context: Any
    ) -> tokenizer_pb2.EncodeResponse:
        self.encodes.append(request)
        self.called.set()
        await self.open.wait()
        limit = request.truncation.max_tokens if request.HasField("truncation") else None
        ids = [list(_text(index, each).encode())[:limit] for index, each in enumerate(request.inputs)]
        return tokenizer_pb2.EncodeResponse(
            encodings=[tokenizer_pb2.Encoding(ids=each) for each in ids], tokenizer_digest=DIGEST
        )

    async def GetArtifact(
        self, request: tokenizer_pb2.GetArtifactRequest, _context: Any
    ) -> AsyncIterator[tokenizer_pb2.GetArtifactResponse]:
        self.fetches += 1
        if request.digest != DIGEST:
            raise NotFound(Reason.ARTIFACT_NOT_FOUND, "no such artefact")
        header = tokenizer_pb2.ArtifactHeader(
            format=tokenizer_pb2.ARTIFACT_FORMAT_HF_TOKENIZER_JSON, size_bytes=len(ARTIFACT), model="writer"
        )
        yield tokenizer_pb2.GetArtifactResponse(header=header)
        for start in range(0, len(ARTIFACT), 1_000):
            yield tokenizer_pb2.GetArtifactResponse(chunk=ARTIFACT[start : start + 1_000])


def _text(index: int, given: tokenizer_pb2.EncodeInput) -> str:
    if given.WhichOneof("input") == "text":
        return given.text
    for number, message in enumerate(given.chat.messages):
        if message.role == "wizard":
            raise invalid(f"inputs[{index}].chat.messages[{number}].role", "is not known to the template")
        if message.role == "nobody":
            raise FailedPrecondition(Reason.TASK_UNSUPPORTED, "no template")
    return "\n".join(message.content for message in given.chat.messages)

"""The tokenizer service as the front calls it: encodes, and artefacts by digest."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from trunkline.inference.v1.inference_pb2 import Chat, ChatMessage
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub

from gateway.front.calls import Conversation, Ids
from gateway.front.encoding import Tokenizer
from gateway.front.vocabulary import ArtifactFormat
from services.kit.channel import deadline_left
from services.kit.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    Reason,
    ResourceExhausted,
    TrunklineError,
    Unavailable,
)
from services.kit.status import from_rpc_error

FETCH_LIMIT_S = 30.0

_FORMATS = {
    pb.ARTIFACT_FORMAT_HF_TOKENIZER_JSON: ArtifactFormat.HF_TOKENIZER_JSON,
    pb.ARTIFACT_FORMAT_SENTENCEPIECE: ArtifactFormat.SENTENCEPIECE,
}
_DOWN = "the tokenizer service cannot be reached; requests with token ids still work"


class TokenizerClient:
    """Calls the tokenizer service. No call waits for a service that is down to come back."""

    def __init__(self, channel: grpc.aio.Channel, encode_limit: float) -> None:
        self._stub = TokenizerServiceStub(channel)
        self._encode_limit = encode_limit

    async def encode(self, tokenizer: Tokenizer, inputs: Sequence[str | Conversation]) -> list[Ids]:
        """Return the ids of each of `inputs`; takes `encode_limit` seconds at most.

        Raises InvalidArgument naming `inputs[i]`, FailedPrecondition TASK_UNSUPPORTED (a chat without a
        template), ResourceExhausted, DeadlineExceeded for the caller's own deadline; for all else Unavailable
        TOKENIZER_UNAVAILABLE, also where the service's tokenizer is not the one of the worker's model.
        """
        request = pb.EncodeRequest(model=tokenizer.model, inputs=map(_input, inputs))
        if tokenizer.limit is not None:
            request.truncation.max_tokens = tokenizer.limit
        try:
            response = await self._stub.Encode(request, timeout=self._encode_limit)
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error
        if tokenizer.digest and response.tokenizer_digest != tokenizer.digest:
            raise Unavailable(
                Reason.TOKENIZER_UNAVAILABLE,
                f"the tokenizer service has another tokenizer for {tokenizer.model} than its workers",
                metadata={"model": tokenizer.model},
            )
        if len(response.encodings) != len(inputs):
            raise Unavailable(Reason.TOKENIZER_UNAVAILABLE, "the tokenizer service answered for other inputs")
        return [encoding.ids for encoding in response.encodings]

    async def fetch(self, digest: str) -> tuple[ArtifactFormat, bytes]:
        """Return the format and the bytes of an artefact; raises Unavailable TOKENIZER_UNAVAILABLE."""
        artifact = bytearray()
        format_ = None
        call = self._stub.GetArtifact(pb.GetArtifactRequest(digest=digest), timeout=FETCH_LIMIT_S)
        try:
            async for part in call:
                if part.HasField("header"):
                    format_ = _FORMATS.get(part.header.format)
                artifact += part.chunk
        except grpc.aio.AioRpcError as error:
            raise Unavailable(Reason.TOKENIZER_UNAVAILABLE, _DOWN) from error
        finally:
            call.cancel()
        if format_ is None:
            raise Unavailable(Reason.TOKENIZER_UNAVAILABLE, "the tokenizer's artefact has an unknown format")
        return format_, bytes(artifact)


def _input(source: str | Conversation) -> pb.EncodeInput:
    if isinstance(source, str):
        return pb.EncodeInput(text=source)
    messages = [ChatMessage(role=each.role, content=each.content) for each in source.messages]
    return pb.EncodeInput(chat=Chat(messages=messages, continue_last_message=source.continue_last))


def _translated(error: grpc.aio.AioRpcError) -> TrunklineError:
    translated = from_rpc_error(error)
    left = deadline_left()
    if isinstance(translated, DeadlineExceeded) and left is not None and left < 0.05:
        return translated
    unsupported = isinstance(translated, FailedPrecondition) and translated.reason == Reason.TASK_UNSUPPORTED
    if unsupported or isinstance(translated, InvalidArgument | ResourceExhausted):
        return translated
    return Unavailable(Reason.TOKENIZER_UNAVAILABLE, _DOWN)

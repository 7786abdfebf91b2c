"""TokenizerService: requests into the domain's terms, one call, answers back."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from trunkline.inference.v1.inference_pb2 import Chat as ChatMessageList
from trunkline.tokenizer.v1 import tokenizer_pb2 as pb
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceServicer

from services.kit.errors import invalid
from services.kit.names import check_name
from services.kit.paging import page
from services.store.tokenizer_files import TokenizerFormat
from services.tokenizer.inputs import Chat, EncodeOptions, Input, Message, Padding, Pair, Text, Truncation
from services.tokenizer.library import Library
from services.tokenizer.limits import check_decode, check_digest, check_encode
from services.tokenizer.model_tokenizer import ModelTokenizer
from services.tokenizer.shaping import Encoded

SERVICE = pb.DESCRIPTOR.services_by_name["TokenizerService"]

T = TypeVar("T")
_CHUNK_BYTES = 1 << 20
_LARGE = 1 << 14
"""From so many tokens, or bytes of request, on, messages are converted on a thread: a millisecond of work."""
_FORMATS = {
    TokenizerFormat.HF_TOKENIZER_JSON: pb.ARTIFACT_FORMAT_HF_TOKENIZER_JSON,
    TokenizerFormat.SENTENCEPIECE: pb.ARTIFACT_FORMAT_SENTENCEPIECE,
}


class TokenizerService(TokenizerServiceServicer):
    """Answers TokenizerService from a library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def ListTokenizers(
        self, request: pb.ListTokenizersRequest, _context: Any
    ) -> pb.ListTokenizersResponse:
        """List the tokenizers that are here."""
        here = await self._library.available()
        listed, following = page(here, lambda each: each.spec.name, request.page_size, request.page_token)
        return pb.ListTokenizersResponse(tokenizers=map(_tokenizer, listed), next_page_token=following)

    async def Encode(self, request: pb.EncodeRequest, _context: Any) -> pb.EncodeResponse:
        """Encode a batch of inputs."""
        check_name("model", request.model)
        options = _options(request)
        inputs = await _off_loop(request.ByteSize(), lambda: check_encode(_inputs(request.inputs), options))
        tokenizer = await self._library.get(request.model)
        encoded = await tokenizer.encode(inputs, options)
        tokens = sum(len(each.ids) for each in encoded)
        return await _off_loop(tokens, lambda: _encode_response(encoded, tokenizer.digest))

    async def CountTokens(self, request: pb.CountTokensRequest, _context: Any) -> pb.CountTokensResponse:
        """Count the tokens of a batch of inputs."""
        check_name("model", request.model)
        inputs = await _off_loop(request.ByteSize(), lambda: check_encode(_inputs(request.inputs)))
        tokenizer = await self._library.get(request.model)
        counts = await tokenizer.count(inputs, add_special_tokens=_adds_special_tokens(request))
        return pb.CountTokensResponse(counts=counts, total=sum(counts), tokenizer_digest=tokenizer.digest)

    async def Decode(self, request: pb.DecodeRequest, _context: Any) -> pb.DecodeResponse:
        """Decode a batch of id sequences."""
        check_name("model", request.model)
        check_decode([each.ids for each in request.sequences])
        sequences = await _off_loop(
            request.ByteSize(), lambda: [list(each.ids) for each in request.sequences]
        )
        tokenizer = await self._library.get(request.model)
        skip = request.skip_special_tokens if request.HasField("skip_special_tokens") else True
        texts = await tokenizer.decode(sequences, skip_special_tokens=skip)
        return pb.DecodeResponse(texts=texts, tokenizer_digest=tokenizer.digest)

    async def GetArtifact(
        self, request: pb.GetArtifactRequest, _context: Any
    ) -> AsyncIterator[pb.GetArtifactResponse]:
        """Send an artefact: a header, then chunks."""
        artifact = await self._library.artifact(check_digest(request.digest))
        content = await asyncio.to_thread(artifact.path.read_bytes)
        yield pb.GetArtifactResponse(
            header=pb.ArtifactHeader(
                format=_FORMATS[artifact.format], size_bytes=len(content), model=artifact.model
            )
        )
        for start in range(0, len(content), _CHUNK_BYTES):
            yield pb.GetArtifactResponse(chunk=content[start : start + _CHUNK_BYTES])


async def _off_loop(size: int, function: Callable[[], T]) -> T:
    return function() if size < _LARGE else await asyncio.to_thread(function)


def _tokenizer(tokenizer: ModelTokenizer) -> pb.Tokenizer:
    return pb.Tokenizer(
        model=tokenizer.spec.name,
        digest=tokenizer.digest,
        format=_FORMATS[tokenizer.format],
        vocabulary_size=tokenizer.vocabulary_size,
        has_chat_template=tokenizer.has_chat_template,
        end_token_ids=tokenizer.end_token_ids,
    )


def _adds_special_tokens(request: pb.EncodeRequest | pb.CountTokensRequest) -> bool:
    return request.add_special_tokens if request.HasField("add_special_tokens") else True


def _options(request: pb.EncodeRequest) -> EncodeOptions:
    return EncodeOptions(
        add_special_tokens=_adds_special_tokens(request),
        truncation=_truncation(request.truncation) if request.HasField("truncation") else None,
        padding=_padding(request.padding) if request.HasField("padding") else None,
        offsets=request.return_offsets,
        attention_mask=request.return_attention_mask,
        special_tokens_mask=request.return_special_tokens_mask,
        type_ids=request.return_type_ids,
    )


def _truncation(message: pb.Truncation) -> Truncation:
    return Truncation(message.max_tokens, left=_is_left("truncation.side", message.side))


def _padding(message: pb.Padding) -> Padding:
    return Padding(
        length=message.length if message.HasField("length") else None,
        multiple_of=message.multiple_of or 1,
        left=_is_left("padding.side", message.side),
    )


def _is_left(field: str, side: int) -> bool:
    if side not in pb.Side.values():
        raise invalid(field, f"must be SIDE_LEFT, SIDE_RIGHT or unset, not {side}")
    return side == pb.SIDE_LEFT


def _inputs(messages: Sequence[pb.EncodeInput]) -> list[Input | None]:
    return [_input(each) for each in messages]


def _input(message: pb.EncodeInput) -> Input | None:
    match message.WhichOneof("input"):
        case "text":
            return Text(message.text)
        case "pair":
            return Pair(message.pair.first, message.pair.second)
        case "chat":
            return _chat(message.chat)
    return None


def _chat(message: ChatMessageList) -> Chat:
    messages = tuple(Message(each.role, each.content) for each in message.messages)
    return Chat(messages, continue_last=message.continue_last_message)


def _encode_response(encoded: Sequence[Encoded], digest: str) -> pb.EncodeResponse:
    return pb.EncodeResponse(encodings=map(_encoding, encoded), tokenizer_digest=digest)


def _encoding(encoded: Encoded) -> pb.Encoding:
    return pb.Encoding(
        ids=encoded.ids,
        offsets=(pb.Offset(start=start, end=end) for start, end in encoded.offsets or ()),
        attention_mask=encoded.attention_mask,
        special_tokens_mask=encoded.special_tokens_mask,
        type_ids=encoded.type_ids,
        truncated_tokens=encoded.truncated_tokens,
    )

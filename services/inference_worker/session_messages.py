"""Between the messages of WorkerService.Session and the worker's own types, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from trunkline.worker.v1 import worker_pb2 as worker

from services.inference_worker.front_session import Order, Orders, Piece
from services.inference_worker.messages import (
    embed_response,
    embedding_request,
    finish,
    generation_request,
    token_logprob,
)
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.under_way import Embeddings, Ending
from services.kit.errors import TrunklineError, invalid
from services.kit.rpc import default_timeout
from services.kit.status import to_status
from services.kit.tracing import TRACEPARENT, TRACESTATE, extract

GENERATE, EMBED = "Generate", "Embed"
LONGEST_S = 366 * 86_400.0
"""What a timeout is cut to: clocks and waits overflow at numbers that a message can hold."""


async def session_orders(messages: AsyncIterator[worker.SessionRequest]) -> AsyncIterator[Orders]:
    """Decode a front's messages as they come."""
    async for message in messages:
        yield [_order(each) for each in message.submits], message.cancels


def session_response(pieces: Sequence[Piece]) -> worker.SessionResponse:
    """Encode what is new: every step of an engine goes through here, so it is kept cheap."""
    ids: list[int] = []
    counts: list[int] = []
    tokens: list[int] = []
    message = worker.SessionResponse()
    for piece in pieces:
        if piece.tokens:
            ids.append(piece.id)
            counts.append(len(piece.tokens))
            tokens += piece.tokens
        if piece.logprobs:
            message.logprobs.add(id=piece.id, logprobs=map(token_logprob, piece.logprobs))
        if piece.outcome is not None:
            message.endings.append(_ending(piece))
    message.ids.extend(ids)
    message.counts.extend(counts)
    message.token_ids.extend(tokens)
    return message


def _ending(piece: Piece) -> worker.SessionEnding:
    match piece.outcome:
        case Ending() as ending:
            return worker.SessionEnding(id=piece.id, finish=finish(ending))
        case Embeddings() as embeddings:
            return worker.SessionEnding(id=piece.id, embeddings=embed_response(embeddings))
        case TrunklineError() as error:
            return worker.SessionEnding(id=piece.id, error=to_status(error))
    raise TypeError("a request that goes on has no ending")


def _order(submit: worker.SessionSubmit) -> Order:
    parent = extract(((TRACEPARENT, submit.traceparent), (TRACESTATE, submit.tracestate)))
    rpc = EMBED if submit.HasField("embed") else GENERATE
    try:
        return Order(submit.id, rpc, _asked(submit, rpc), parent)
    except TrunklineError as error:
        return Order(submit.id, rpc, error, parent)


def _asked(submit: worker.SessionSubmit, rpc: str) -> GenerationRequest | EmbeddingRequest:
    left = default_timeout(rpc)
    if submit.HasField("timeout"):
        left = min(submit.timeout.seconds + submit.timeout.nanos / 1e9, LONGEST_S)
    if rpc == EMBED:
        return embedding_request(submit.embed, left)
    if submit.HasField("generate"):
        return generation_request(submit.generate, left)
    raise invalid("submits.request", "must be one of generate and embed")

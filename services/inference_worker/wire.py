"""What the worker's process and an engine's process say to each other: length-prefixed msgpack, no pickle.

Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share. Commands go to the engine,
events come from it; each frame is a four-byte little-endian length and one tagged message.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

LENGTH = struct.Struct("<I")

Task = Literal["generate", "embed"]
Pooling = Literal["mean", "cls", "last"]
FinishReason = Literal["stop", "length"]


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen: the fields of `trunkline.inference.v1.SamplingParams`."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None


class Limits(msgspec.Struct, frozen=True):
    """How much a model may take on at once."""

    running: int = 32
    """Sequences that share a step."""
    cache_tokens: int = 32_768
    """Tokens of keys and values, over all sequences and the prefix cache."""
    prefill_tokens: int = 512
    """The most prompt tokens read in one step, beside the running sequences' next tokens."""
    step_ms: float = 10.0
    """Milliseconds that a step may take to read prompts while others decode, if 2.5 of theirs are less."""
    batch_tokens: int = 1_024
    """Tokens of one batch of an encoder, padding included."""


class LoadModel(msgspec.Struct, tag=True, frozen=True):
    """Put a model on the device. Answered by Loaded or LoadFailed."""

    model: str
    path: str
    task: Task
    dtype: str
    """float32, bfloat16, float16, int8 or q4."""
    end_token_ids: tuple[int, ...] = ()
    limits: Limits = Limits()


class UnloadModel(msgspec.Struct, tag=True, frozen=True):
    """Take a model off. Answered by Unloaded; the sender has seen its calls end."""

    model: str


class Generate(msgspec.Struct, tag=True, frozen=True):
    """Go on from `token_ids`. Answered by Outputs in Reports, the last with a finish or a failure."""

    id: int
    model: str
    token_ids: list[int]
    sampling: Sampling
    accepted: float
    deadline: float | None = None
    tenant: str = ""
    """Whose request it is: tenants get equal shares, and never share cached prefixes."""
    priority: int = 0
    """Higher goes first among a tenant's own."""


class Embed(msgspec.Struct, tag=True, frozen=True):
    """Make a vector of each input. Answered by one Output in a Report."""

    id: int
    model: str
    inputs: list[list[int]]
    pooling: Pooling
    normalize: bool
    dimensions: int
    accepted: float
    deadline: float | None = None


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """Forget a request: before the next step its place is free, and no more is said of it."""

    id: int


Command = LoadModel | UnloadModel | Generate | Embed | Cancel


class Started(msgspec.Struct, tag=True, frozen=True):
    """The engine is up and takes commands."""

    pid: int


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The model answers from now on."""

    model: str
    context_length: int
    vocabulary_size: int
    dimensions: int
    cache_tokens: int
    memory_bytes: int


class LoadFailed(msgspec.Struct, tag=True, frozen=True):
    """The model could not be loaded; the engine goes on without it."""

    model: str
    message: str


class Unloaded(msgspec.Struct, tag=True, frozen=True):
    """The model is gone and its memory has been given back."""

    model: str


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The log probability of a token, before any shaping, and those of the likeliest others."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


class Timings(msgspec.Struct, frozen=True, array_like=True):
    """When the first step worked on a request, its first token came, and its last."""

    started: float
    first_token: float
    ended: float


class Finish(msgspec.Struct, frozen=True):
    """The end of an answer."""

    reason: FinishReason
    timings: Timings
    cached_tokens: int = 0
    """Tokens of the prompt that came from the prefix cache."""


class Vectors(msgspec.Struct, frozen=True):
    """The vectors of one Embed, one after the other, as little-endian 32-bit floats."""

    values: bytes
    timings: Timings


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step did for one request.

    Exactly one of a request's outputs has a finish, vectors or a failure: the last.
    """

    id: int
    tokens: list[int] = []
    logprobs: list[TokenLogprob] = []
    finish: Finish | None = None
    vectors: Vectors | None = None
    failure: Literal["", "deadline", "fault"] = ""


class Load(msgspec.Struct, frozen=True, array_like=True):
    """What a model is busy with: the fields of `trunkline.worker.v1.Load`."""

    queued: int = 0
    running: int = 0
    outstanding_tokens: int = 0
    cache_tokens: int = 0
    free_cache_tokens: int = 0
    finished_requests: int = 0
    generated_tokens: int = 0
    cached_tokens_hit: int = 0
    """Prompt tokens that came from the prefix cache; this and what follows count since the load."""
    prompt_tokens_read: int = 0
    """Prompt tokens that were computed."""
    preemptions: int = 0
    drafted_tokens: int = 0
    accepted_draft_tokens: int = 0


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """One batch of an encoder: whose inputs it held, and when it ran."""

    requests: list[int]
    inputs: int
    tokens: int
    started: float
    ended: float


class Report(msgspec.Struct, tag=True, frozen=True, omit_defaults=True):
    """What one step of a model did, for all its requests."""

    model: str
    step: int
    """Counts this model's steps from 1."""
    load: Load
    outputs: list[Output] = []
    batch: Batch | None = None
    rows: int = 0
    """Tokens that a decoder's step computed; 0 where it computed none."""
    seconds: float = 0.0
    """How long it computed."""


Event = Started | Loaded | LoadFailed | Unloaded | Report

_ENCODER = msgspec.msgpack.Encoder()
_COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_EVENTS: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def encode(message: Command | Event) -> bytes:
    """Return the frame of `message`, its length in front."""
    body = _ENCODER.encode(message)
    return LENGTH.pack(len(body)) + body


def decode_command(body: bytes | memoryview) -> Command:
    """Return the command in a frame's body; raises msgspec.ValidationError."""
    return _COMMANDS.decode(body)


def decode_event(body: bytes | memoryview) -> Event:
    """Return the event in a frame's body; raises msgspec.ValidationError."""
    return _EVENTS.decode(body)

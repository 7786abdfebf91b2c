"""Where a model goes: pure functions of what is asked and what is free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.inference_worker.devices import CPU
from services.inference_worker.engine.batch import BLOCK_TOKENS
from services.inference_worker.footprint import Footprint
from services.kit.errors import NotFound, Reason, ResourceExhausted

LEAST_CACHE_TOKENS = 2_048
"""With a shorter cache a generator is not worth its place (unless its context is shorter still)."""


@dataclass(frozen=True)
class Room:
    """A device and the memory on it that nobody has or has been promised."""

    device: str
    free_bytes: int


@dataclass(frozen=True)
class Placement:
    """Where a model goes and how many tokens of cache it gets there."""

    device: str
    cache_tokens: int
    needed_bytes: int


def place(
    footprints: Mapping[str, Footprint], cache_tokens: int, rooms: Sequence[Room], pinned: str = ""
) -> Placement:
    """Return the best place: GPUs first, more room before less, and all of the cache before a part of it.

    `footprints` has what the model takes on each device; the cache is a whole number of blocks of at most
    `cache_tokens` tokens in all. `pinned` names the only device to look at. Raises NotFound
    (DEVICE_NOT_FOUND) where it is not there, and ResourceExhausted (DEVICE_MEMORY_EXHAUSTED) with the
    arithmetic where the model fits nowhere.
    """
    candidates = sorted(_candidates(rooms, pinned), key=lambda room: (room.device == CPU, -room.free_bytes))
    for least in (False, True):
        for room in candidates:
            footprint = footprints[room.device]
            wanted = _least(footprint, cache_tokens) if least else _most(footprint, cache_tokens)
            if footprint.needed(wanted) <= room.free_bytes:
                tokens = _affordable(footprint, cache_tokens, room)
                return Placement(room.device, tokens, footprint.needed(tokens))
    room = max(candidates, key=lambda room: room.free_bytes)
    raise _exhausted(footprints[room.device], _least(footprints[room.device], cache_tokens), room)


def _candidates(rooms: Sequence[Room], pinned: str) -> list[Room]:
    found = [room for room in rooms if pinned in {"", room.device}]
    if not found:
        names = ",".join(room.device for room in rooms)
        raise NotFound(
            Reason.DEVICE_NOT_FOUND,
            f"This worker has no device {pinned!r}, only {names}.",
            metadata={"device": pinned, "devices": names},
        )
    return found


def _most(footprint: Footprint, cache_tokens: int) -> int:
    return _blocks(cache_tokens) if footprint.cache_token_bytes else 0


def _least(footprint: Footprint, cache_tokens: int) -> int:
    longest = -(-footprint.context_length // BLOCK_TOKENS) * BLOCK_TOKENS
    return min(_most(footprint, cache_tokens), LEAST_CACHE_TOKENS, longest or cache_tokens)


def _affordable(footprint: Footprint, cache_tokens: int, room: Room) -> int:
    if not footprint.cache_token_bytes:
        return 0
    left = room.free_bytes - footprint.needed(0)
    return min(_most(footprint, cache_tokens), _blocks(left // footprint.cache_token_bytes))


def _blocks(tokens: int) -> int:
    """Return the tokens of as many whole blocks."""
    return tokens // BLOCK_TOKENS * BLOCK_TOKENS


def _exhausted(footprint: Footprint, cache_tokens: int, room: Room) -> ResourceExhausted:
    needed = footprint.needed(cache_tokens)
    cache = cache_tokens * footprint.cache_token_bytes
    return ResourceExhausted(
        Reason.DEVICE_MEMORY_EXHAUSTED,
        f"The model needs {needed:,} bytes (weights {footprint.weight_bytes:,}, cache {cache:,}, working "
        f"space {footprint.workspace_bytes:,}) and {room.device} has {room.free_bytes:,} free.",
        metadata={
            "device": room.device,
            "needed_bytes": str(needed),
            "free_bytes": str(room.free_bytes),
            "weight_bytes": str(footprint.weight_bytes),
            "cache_bytes": str(cache),
            "workspace_bytes": str(footprint.workspace_bytes),
        },
        retry_after=60.0,
    )

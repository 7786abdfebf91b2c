"""From a program to the flat operations of csrc/program.h: fused where one only prepares the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from services.inference_worker.engine.program import (
    Activation,
    Add,
    Attention,
    Embed,
    Gate,
    Linear,
    Matrix,
    Norm,
    Operation,
    Program,
    Rope,
    Select,
    Vector,
)

_LARGEST_GROUP = 64  # of inputs that a kind of linear takes together


class Code(IntEnum):
    """`Code` of csrc/program.h."""

    EMBED, NORM, LINEAR, ATTENTION, GATE, ADD, SELECT, HEAD = range(8)


class Flag(IntFlag):
    """`Flag` of csrc/program.h."""

    PREPARED, KEEP, ADD, CAUSAL, LAYER = 1, 2, 4, 8, 16


class Role(IntEnum):
    """`Role` of csrc/program.h."""

    LINEAR, VECTOR, TABLE = range(3)


_ACTIVATIONS: dict[Activation, int] = {"none": 0, "gelu": 1, "gelu_tanh": 2, "silu": 3, "relu": 4}

Frequencies = tuple[float, ...]
Weight = Matrix | Vector | Frequencies
Fields = dict[str, int | float]
"""An operation's fields by name."""


class Unsupported(ValueError):  # noqa: N818 - a name of the domain
    """The native runner has no such operation; the message says which."""


@dataclass
class Lowered:
    """The operations, and the weights that they mean by number, each once."""

    operations: list[Fields] = field(default_factory=list)
    weights: dict[tuple[Role, Weight], int] = field(default_factory=dict)

    def number(self, role: Role, weight: Weight | None) -> int:
        """Return the number of a weight; -1 for None."""
        if weight is None:
            return -1
        return self.weights.setdefault((role, weight), len(self.weights))


def lower(program: Program) -> Lowered:
    """Return the operations for the library. Raises Unsupported."""
    lowered, operations = Lowered(), list(program.operations)
    head = operations[-1] if program.causal else None
    if program.causal and not (isinstance(head, Linear) and head.out == program.result and not head.add):
        raise Unsupported("a decoder's last operation is the linear that makes logits")
    turned: Rope | None = None
    for index, operation in enumerate(operations):
        if isinstance(operation, Rope):
            turned = operation
            continue
        made = _LOWERINGS[type(operation)](lowered, operation)
        if isinstance(operation, Attention):
            _turn(lowered, made, operation, turned)
            turned = None
        elif turned:
            raise Unsupported("what is turned goes into attention next")
        if operation is head:
            made["code"] = Code.HEAD
        _fuse(lowered, made, operation, operations[index + 1 :], program.result.index)
        lowered.operations.append(made)
    return lowered


def _turn(lowered: Lowered, made: Fields, operation: Attention, turned: Rope | None) -> None:
    if turned is None:
        return
    shapes = [(each.qkv, each.heads, each.kv_heads, each.size) for each in (operation, turned)]
    if shapes[0] != shapes[1] or not operation.causal:
        raise Unsupported("what is turned goes into causal attention of the same heads")
    made["weight"] = lowered.number(Role.VECTOR, turned.frequencies)


def _fuse(
    lowered: Lowered, made: Fields, operation: Operation, rest: Sequence[Operation], result: int
) -> None:
    """Let an operation prepare the linear after it, which then reads no buffer."""
    last = lowered.operations[-1] if lowered.operations else None
    if last and last["prepares"] != -1:
        made["flags"] = int(made["flags"]) | Flag.PREPARED
    follower = rest[0] if rest else None
    if not isinstance(follower, Linear) or follower.x.index != made["out"] or not _can_prepare(operation):
        return
    made["prepares"] = lowered.number(Role.LINEAR, follower.weight)
    if _read_again(int(made["out"]), rest, result):
        if isinstance(operation, Attention):
            made["prepares"] = -1
        made["flags"] = int(made["flags"]) | Flag.KEEP


def _can_prepare(operation: Operation) -> bool:
    if isinstance(operation, Attention):
        return operation.causal and operation.size % _LARGEST_GROUP == 0
    return isinstance(operation, Norm | Gate)


def _read_again(buffer: int, rest: Sequence[Operation], result: int) -> bool:
    """Return whether what stands in a buffer is read by others than the linear that follows."""
    follower = rest[0]
    if isinstance(follower, Linear) and follower.out.index == buffer:
        return follower.add
    for each in rest[1:]:
        if buffer in _read(each):
            return True
        if not isinstance(each, Rope) and each.out.index == buffer:
            return False
    return buffer == result


def _read(operation: Operation) -> set[int]:
    match operation:
        case Embed():
            return set()
        case Attention() | Rope():
            return {operation.qkv.index}
        case Add():
            return {operation.x.index, operation.out.index}
        case Linear():
            return {operation.x.index, *([operation.out.index] if operation.add else [])}
        case _:
            return {operation.x.index}


def _fields(code: Code, out: int, x: int = -1, **others: float) -> Fields:
    plain: Fields = {"code": code, "flags": 0, "x": x, "out": out, "weight": -1, "second": -1, "third": -1}
    plain |= {"prepares": -1, "activation": 0, "offset": 0, "layer": 0, "heads": 0, "kv_heads": 0, "size": 0}
    return plain | {"number": 0.0} | others


def _embed(lowered: Lowered, each: Embed) -> Fields:
    return _fields(
        Code.EMBED,
        each.out.index,
        weight=lowered.number(Role.TABLE, each.tokens),
        second=lowered.number(Role.TABLE, each.positions),
        third=lowered.number(Role.VECTOR, each.constant),
        offset=each.position_offset,
        number=each.scale,
    )


def _norm(lowered: Lowered, each: Norm) -> Fields:
    return _fields(
        Code.NORM,
        each.out.index,
        each.x.index,
        flags=Flag.LAYER if each.kind == "layer" else 0,
        weight=lowered.number(Role.VECTOR, each.weight),
        second=lowered.number(Role.VECTOR, each.bias),
        number=each.epsilon,
    )


def _linear(lowered: Lowered, each: Linear) -> Fields:
    return _fields(
        Code.LINEAR,
        each.out.index,
        each.x.index,
        flags=Flag.ADD if each.add else 0,
        weight=lowered.number(Role.LINEAR, each.weight),
        second=lowered.number(Role.VECTOR, each.bias),
        activation=_ACTIVATIONS[each.activation],
    )


def _attention(_: Lowered, each: Attention) -> Fields:
    heads = {"heads": each.heads, "kv_heads": each.kv_heads, "size": each.size}
    flags = Flag.CAUSAL if each.causal else 0
    return _fields(
        Code.ATTENTION,
        each.out.index,
        each.qkv.index,
        flags=flags,
        layer=each.layer,
        number=each.scale,
        **heads,
    )


def _gate(_: Lowered, each: Gate) -> Fields:
    return _fields(Code.GATE, each.out.index, each.x.index, activation=_ACTIVATIONS[each.activation])


def _add(_: Lowered, each: Add) -> Fields:
    return _fields(Code.ADD, each.out.index, each.x.index)


def _select(_: Lowered, each: Select) -> Fields:
    return _fields(Code.SELECT, each.out.index, each.x.index)


_LOWERINGS: dict[type[Any], Callable[[Lowered, Any], Fields]] = {
    Embed: _embed,
    Norm: _norm,
    Linear: _linear,
    Attention: _attention,
    Gate: _gate,
    Add: _add,
    Select: _select,
}

"""A program becomes flat operations, fused where one only prepares the next."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from services.inference_worker.engine.native.lowering import Code, Flag, Role, Unsupported, lower
from services.inference_worker.engine.program import (
    Add,
    Attention,
    Buffer,
    Embed,
    Linear,
    Matrix,
    Norm,
    Program,
    Rope,
    Vector,
)
from tests.unit.inference_worker.native.random_checkpoint import tiny_llama


def test_a_llama_layer_is_norm_linear_attention_linear_norm_linear_gate_linear():
    _, program = tiny_llama(num_hidden_layers=1)
    codes = [operation["code"] for operation in lower(program).operations]
    layer = [
        Code.NORM,
        Code.LINEAR,
        Code.ATTENTION,
        Code.LINEAR,
        Code.NORM,
        Code.LINEAR,
        Code.GATE,
        Code.LINEAR,
    ]
    assert codes == [Code.EMBED, *layer, Code.SELECT, Code.NORM, Code.HEAD]


def test_norms_and_gates_prepare_the_linear_that_follows():
    _, program = tiny_llama(num_hidden_layers=1)
    operations = lower(program).operations
    for this, following in itertools.pairwise(operations):
        if this["code"] in {Code.NORM, Code.GATE}:
            assert this["prepares"] == following["weight"]
            assert following["flags"] & Flag.PREPARED
            assert not this["flags"] & Flag.KEEP


def test_attention_prepares_only_heads_that_fill_the_largest_group():
    attention = {}
    for size in (32, 64):
        _, program = tiny_llama(num_hidden_layers=1, head_dim=size)
        attention[size] = next(each for each in lower(program).operations if each["code"] == Code.ATTENTION)
    assert attention[32]["prepares"] == -1
    assert attention[64]["prepares"] >= 0


def test_what_is_read_again_is_kept():
    x, normed, out = Buffer(0, 16), Buffer(1, 16), Buffer(2, 16)
    embed = Embed(x, Matrix(("e",), 10, 16))
    norm = Norm("layer", x, normed, Vector(("n",), 16), None, 1e-5)
    operations = (embed, norm, Linear(normed, out, Matrix(("w",), 16, 16)), Add(normed, out))
    lowered = lower(Program(operations, (x, normed, out), out, 10, 10, 0))
    assert lowered.operations[1]["flags"] == Flag.LAYER | Flag.KEEP


def test_a_weight_has_one_number_wherever_it_is_used():
    _, program = tiny_llama()
    lowered = lower(program)
    assert sorted(lowered.weights.values()) == list(range(len(lowered.weights)))
    assert len({key for key in lowered.weights if key[0] == Role.TABLE}) == 1


def test_a_decoder_must_end_with_its_logits():
    _, program = tiny_llama()
    with pytest.raises(Unsupported, match="last operation"):
        lower(replace(program, operations=program.operations[:-1]))


def test_what_is_turned_must_go_into_attention():
    _, program = tiny_llama(num_hidden_layers=1)
    without = tuple(each for each in program.operations if not isinstance(each, Attention))
    causal = (*without[:-1], next(each for each in program.operations if isinstance(each, Attention)))
    assert any(isinstance(each, Rope) for each in causal)
    with pytest.raises(Unsupported):
        lower(replace(program, operations=(*causal, program.operations[-1])))

"""Llama and its kin: Llama, SmolLM, TinyLlama, Mistral without a window, Qwen2."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from services.inference_worker.engine.adapters import rope
from services.inference_worker.engine.adapters.weights import activation, bias, buffers, weight
from services.inference_worker.engine.program import (
    Activation,
    Attention,
    Buffer,
    Embed,
    Gate,
    Linear,
    Norm,
    Operation,
    Program,
    Rope,
    Select,
    Vector,
)


def program(config: dict[str, Any], names: Collection[str]) -> Program | None:
    """Return the program of a decoder of this family; None where it does what none of them does."""
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or hidden // heads)
    act, angles = activation(config.get("hidden_act", "silu")), rope.frequencies(config, size)
    if act is None or angles is None or _windowed(config):
        return None
    return _Llama(config, names, hidden, heads, size, act, angles).program()


def _windowed(config: dict[str, Any]) -> bool:
    """Return whether a token sees less than all that is before it."""
    window = config.get("sliding_window")
    if window is None or (config["model_type"] == "qwen2" and not config.get("use_sliding_window")):
        return False
    return int(window) < int(config["max_position_embeddings"])


@dataclass(frozen=True)
class _Llama:
    config: dict[str, Any]
    names: Collection[str]
    hidden: int
    heads: int
    size: int
    activation: Activation
    frequencies: tuple[float, ...]

    @property
    def kv_heads(self) -> int:
        return int(self.config.get("num_key_value_heads") or self.heads)

    @property
    def qkv_width(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.size

    @property
    def inner(self) -> int:
        return int(self.config["intermediate_size"])

    def program(self) -> Program:
        """Return the whole of it."""
        vocabulary, layers = int(self.config["vocab_size"]), int(self.config["num_hidden_layers"])
        embedding = weight(["model.embed_tokens"], vocabulary, self.hidden)
        untied = "lm_head.weight" in self.names and not self.config.get("tie_word_embeddings", False)
        head = weight(["lm_head"], vocabulary, self.hidden) if untied else embedding
        widths = (
            self.hidden,
            self.hidden,
            self.qkv_width,
            self.heads * self.size,
            2 * self.inner,
            self.inner,
        )
        places = buffers(*widths, self.hidden, self.hidden, vocabulary)
        x, last, normed, logits = places[0], *places[6:]
        operations: list[Operation] = [Embed(x, embedding)]
        for layer in range(layers):
            operations += self._attention(layer, *places[:4])
            operations += self._feed_forward(layer, x, places[1], *places[4:6])
        operations += [Select(x, last), self._norm("model.norm", last, normed), Linear(normed, logits, head)]
        return Program(
            operations=tuple(operations),
            buffers=places,
            result=logits,
            context_length=int(self.config["max_position_embeddings"]),
            vocabulary_size=vocabulary,
            layers=layers,
            kv_heads=self.kv_heads,
            head_size=self.size,
        )

    def _attention(
        self, layer: int, x: Buffer, normed: Buffer, qkv: Buffer, attended: Buffer
    ) -> Iterator[Operation]:
        at = f"model.layers.{layer}"
        projections = [f"{at}.self_attn.{each}_proj" for each in "qkv"]
        shape = (self.heads, self.kv_heads, self.size)
        yield self._norm(f"{at}.input_layernorm", x, normed)
        yield self._linear(projections, normed, qkv)
        yield Rope(qkv, *shape, self.frequencies)
        yield Attention(qkv, attended, layer, *shape, scale=self.size**-0.5, causal=True)
        yield self._linear([f"{at}.self_attn.o_proj"], attended, x, add=True)

    def _feed_forward(
        self, layer: int, x: Buffer, normed: Buffer, both: Buffer, gated: Buffer
    ) -> Iterator[Operation]:
        at = f"model.layers.{layer}"
        yield self._norm(f"{at}.post_attention_layernorm", x, normed)
        yield self._linear([f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj"], normed, both)
        yield Gate(both, gated, self.activation)
        yield self._linear([f"{at}.mlp.down_proj"], gated, x, add=True)

    def _norm(self, module: str, x: Buffer, out: Buffer) -> Norm:
        epsilon = float(self.config.get("rms_norm_eps", 1e-6))
        return Norm("rms", x, out, Vector((f"{module}.weight",), self.hidden), None, epsilon)

    def _linear(self, modules: list[str], x: Buffer, out: Buffer, *, add: bool = False) -> Linear:
        return Linear(
            x, out, weight(modules, out.width, x.width), bias(modules, out.width, self.names), add=add
        )

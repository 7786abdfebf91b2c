"""BERT and its kin: BERT, MiniLM, RoBERTa, XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from services.inference_worker.engine.adapters.weights import activation, bias, buffers, weight
from services.inference_worker.engine.program import (
    Activation,
    Attention,
    Buffer,
    Embed,
    Linear,
    Norm,
    Operation,
    Program,
    Vector,
)

# A checkpoint with a head has the encoder below a name of its own.
_PREFIXES = ("", "bert.", "roberta.", "model.")
_PARAMETERS = ("weight", "bias")
_FIRST = "embeddings.word_embeddings.weight"


def program(config: dict[str, Any], names: Collection[str]) -> Program | None:
    """Return the program of an encoder of this family; None where it does what none of them does."""
    prefix = next((each for each in _PREFIXES if each + _FIRST in names), None)
    act = activation(config.get("hidden_act", "gelu"))
    absolute = config.get("position_embedding_type", "absolute") == "absolute"
    if prefix is None or act is None or not absolute or config.get("is_decoder"):
        return None
    return _Bert(config, names, prefix, act).program()


@dataclass(frozen=True)
class _Bert:
    config: dict[str, Any]
    names: Collection[str]
    prefix: str
    activation: Activation

    @property
    def hidden(self) -> int:
        return int(self.config["hidden_size"])

    @property
    def offset(self) -> int:
        """RoBERTa counts positions from the padding token's id on."""
        return 0 if self.config["model_type"] == "bert" else int(self.config.get("pad_token_id", 1)) + 1

    def program(self) -> Program:
        """Return the whole of it."""
        layers, inner = int(self.config["num_hidden_layers"]), int(self.config["intermediate_size"])
        places = buffers(self.hidden, 3 * self.hidden, self.hidden, self.hidden, inner)
        x, normed = places[0], places[3]
        operations = [self._embed(normed), self._norm("embeddings.LayerNorm", normed, x)]
        for layer in range(layers):
            operations += self._layer(layer, places)
        return Program(
            operations=tuple(operations),
            buffers=places,
            result=x,
            context_length=int(self.config["max_position_embeddings"]) - self.offset,
            vocabulary_size=int(self.config["vocab_size"]),
            layers=layers,
        )

    def _embed(self, out: Buffer) -> Operation:
        at = f"{self.prefix}embeddings"
        return Embed(
            out,
            weight([f"{at}.word_embeddings"], int(self.config["vocab_size"]), self.hidden),
            weight([f"{at}.position_embeddings"], int(self.config["max_position_embeddings"]), self.hidden),
            self.offset,
            self._first_type(f"{at}.token_type_embeddings.weight"),
        )

    def _first_type(self, name: str) -> Vector | None:
        """Return the vector that every token gets: all are of the first type."""
        return Vector((name,), self.hidden) if name in self.names else None

    def _layer(self, layer: int, places: tuple[Buffer, ...]) -> Iterator[Operation]:
        x, qkv, attended, normed, inner = places
        at, heads = f"encoder.layer.{layer}", int(self.config["num_attention_heads"])
        size = self.hidden // heads
        yield self._linear([f"{at}.attention.self.{each}" for each in ("query", "key", "value")], x, qkv)
        yield Attention(qkv, attended, layer, heads, heads, size, scale=size**-0.5, causal=False)
        yield self._linear([f"{at}.attention.output.dense"], attended, x, add=True)
        yield self._norm(f"{at}.attention.output.LayerNorm", x, normed)
        yield self._linear([f"{at}.intermediate.dense"], normed, inner, self.activation)
        yield self._linear([f"{at}.output.dense"], inner, normed, add=True)
        yield self._norm(f"{at}.output.LayerNorm", normed, x)

    def _norm(self, module: str, x: Buffer, out: Buffer) -> Norm:
        weights, biases = (Vector((f"{self.prefix}{module}.{each}",), self.hidden) for each in _PARAMETERS)
        return Norm("layer", x, out, weights, biases, float(self.config.get("layer_norm_eps", 1e-12)))

    def _linear(
        self, modules: list[str], x: Buffer, out: Buffer, act: Activation = "none", *, add: bool = False
    ) -> Linear:
        full = [f"{self.prefix}{module}" for module in modules]
        weights, biases = weight(full, out.width, x.width), bias(full, out.width, self.names)
        return Linear(x, out, weights, biases, act, add)

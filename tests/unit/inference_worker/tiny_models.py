"""Models of a few thousand random weights, made in a moment: as real as any other to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCABULARY = 512
CONTEXT = 512
END = 2

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    # Large enough that answers wander through the vocabulary instead of repeating one token.
    "initializer_range": 0.4,
}
_TOKENS = {"bos_token_id": 1, "eos_token_id": END, "pad_token_id": None}


def llama(folder: Path) -> Path:
    """Save a Llama with grouped heads in `folder`, with a tokenizer of words `w3`, `w4`, …; return it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return save(LlamaForCausalLM, LlamaConfig(num_key_value_heads=2, **_SIZES, **_TOKENS), folder)


def bert(folder: Path) -> Path:
    """Save a BERT encoder in `folder`, with the same kind of tokenizer; return the folder."""
    from transformers import BertConfig, BertModel

    return save(BertModel, BertConfig(**_SIZES), folder)


def decoders() -> dict[str, tuple[Any, Any]]:
    """Return model classes and configurations of decoders that differ in what matters to the engine."""
    import transformers as t

    grouped = {**_SIZES, **_TOKENS, "num_key_value_heads": 2}
    gpt2 = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
    return {
        "llama: grouped heads": (t.LlamaForCausalLM, t.LlamaConfig(**grouped)),
        "qwen2: biases": (t.Qwen2ForCausalLM, t.Qwen2Config(**grouped)),
        "qwen3: normed heads of another size": (t.Qwen3ForCausalLM, t.Qwen3Config(head_dim=32, **grouped)),
        "mistral: a sliding window": (t.MistralForCausalLM, t.MistralConfig(sliding_window=24, **grouped)),
        "gemma3: windows in some layers": (
            t.Gemma3ForCausalLM,
            t.Gemma3TextConfig(
                head_dim=16,
                sliding_window=24,
                layer_types=["sliding_attention", "full_attention"],
                **grouped,
            ),
        ),
        "gpt2: learned positions": (
            t.GPT2LMHeadModel,
            t.GPT2Config(initializer_range=0.4, bos_token_id=1, eos_token_id=END, **gpt2),
        ),
        "gpt-neox: parts of heads rotated": (t.GPTNeoXForCausalLM, t.GPTNeoXConfig(**_SIZES, **_TOKENS)),
    }


def save(model_class: Any, config: Any, folder: Path) -> Path:
    """Save a model of random weights, always the same ones, and a tokenizer; return the folder."""
    import torch

    torch.manual_seed(20)
    folder.mkdir(parents=True, exist_ok=True)
    model_class(config).save_pretrained(folder)
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def prompt(length: int, seed: int = 0) -> list[int]:
    """Return `length` token ids below the tiny models' vocabulary, none of them special."""
    return [3 + (seed * 101 + place * 37 + place * place) % (VOCABULARY - 3) for place in range(length)]


def greedy(model: Any, token_ids: list[int], new_tokens: int) -> list[int]:
    """Return what transformers alone goes on with, without an end token."""
    import torch

    with torch.no_grad():
        out = model.generate(torch.tensor([token_ids]), max_new_tokens=new_tokens, do_sample=False)
    made: list[int] = out[0, len(token_ids) :].tolist()
    return made[:-1] if made[-1] == END else made


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{n}": n for n in range(3, VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer

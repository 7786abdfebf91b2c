"""A tokenizer out of a GGUF file, in Hugging Face's layout, without torch or transformers.

A GGUF file carries no `tokenizer.json` but what one is made of: vocabulary, merges, kinds of tokens,
template. The result encodes to the same ids as `transformers.AutoTokenizer.from_pretrained(...,
gguf_file=...)`, also where that one differs from the model's first home: what runs the model and what feeds
it must agree. The JSON is written here and not by a library, so that its bytes, and so its digest, depend on
the GGUF file alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.store.gguf_metadata import read_metadata
from services.store.gguf_models import Vocabulary, tokenizer_document
from services.store.sources import SourceError

_PREFIX = "tokenizer.ggml."
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_ENDS = ("eos", "eot", "eom")


def convert_tokenizer(source: Path, into: Path) -> None:
    """Write the tokenizer of the GGUF file in `source` into the folder `into`; raises SourceError.

    Writes `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` and, where the file has a
    template, `chat_template.jinja`.
    """
    fields = read_metadata(gguf_file(source))
    vocabulary = _vocabulary(fields)
    _write(into / "tokenizer.json", tokenizer_document(vocabulary))
    _write(
        into / "tokenizer_config.json",
        {f"{role}_token": text for role, text in vocabulary.roles.items() if text},
    )
    ends = [fields[key] for name in _ENDS if (key := f"{_PREFIX}{name}_token_id") in fields]
    _write(into / "generation_config.json", {"eos_token_id": list(dict.fromkeys(ends))})
    template = fields.get("tokenizer.chat_template")
    if isinstance(template, str):
        (into / "chat_template.jinja").write_text(template, encoding="utf-8", newline="")


def gguf_file(folder: Path) -> Path:
    """Return the one GGUF file in `folder`, the first part of one in parts; raises SourceError."""
    found = sorted(folder.glob("*.gguf"))
    first = [each for each in found if "-00001-of-" in each.name]
    if len(found) == 1 or first:
        return (first or found)[0]
    raise SourceError(f"it holds {len(found)} GGUF files, where one is needed.")


def _vocabulary(fields: dict[str, Any]) -> Vocabulary:
    tokens = _list(fields, "tokens", str)
    if not tokens:
        raise SourceError("the GGUF file holds no vocabulary.")
    model = str(fields.get(f"{_PREFIX}model", ""))
    ids = {role: fields.get(f"{_PREFIX}{name}_token_id") for role, name in _ROLES.items()}
    for index in ids.values():
        if index is not None and not (isinstance(index, int) and 0 <= index < len(tokens)):
            raise SourceError("the GGUF file names a special token that its vocabulary does not have.")
    merges = _list(fields, "merges", str)
    return Vocabulary(
        model=model,
        architecture=str(fields.get("general.architecture", "")),
        split=str(fields.get(f"{_PREFIX}pre", "")),
        tokens=tuple(tokens),
        kinds=tuple(_list(fields, "token_type", int)),
        scores=tuple(_list(fields, "scores", float)),
        merges=tuple(tuple(merge.split(" ")) for merge in merges) if merges else None,
        roles={role: None if index is None else tokens[index] for role, index in ids.items()},
        # Files older than the flag: llama.cpp puts BOS before a SentencePiece vocabulary unless told
        # otherwise. Of Gemma 4 the template writes it.
        add_bos=model != "gemma4" and bool(fields.get(f"{_PREFIX}add_bos_token", model == "llama")),
        add_eos=bool(fields.get(f"{_PREFIX}add_eos_token", False)),
    )


def _list(fields: dict[str, Any], name: str, kind: type) -> list[Any]:
    """Return a list of the metadata, empty where there is none."""
    values = fields.get(f"{_PREFIX}{name}") or []
    if not isinstance(values, list) or not all(isinstance(each, kind) for each in values):
        raise SourceError(f"the GGUF file's {_PREFIX}{name} is not a list of {kind.__name__}.")
    return values


def _write(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8", newline="")

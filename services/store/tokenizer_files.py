"""A model's tokenizer as files: the artefact, and what the model's makers say beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.store.digests import digest_of
from services.store.sources import SourceError


class TokenizerFormat(StrEnum):
    """How a tokenizer's artefact is to be read."""

    HF_TOKENIZER_JSON = "hf_tokenizer_json"
    SENTENCEPIECE = "sentencepiece"


@dataclass(frozen=True)
class SpecialTokens:
    """The texts of tokens with a role; None where the tokenizer has none."""

    bos: str | None = None
    eos: str | None = None
    unk: str | None = None
    pad: str | None = None


@dataclass(frozen=True)
class TokenizerFiles:
    """Where a model's tokenizer is and how it is meant.

    `digest` is the SHA-256, in hex, of the file `path`. `end_token_ids` end an answer of the model. `add_bos`
    and `add_eos` matter to SentencePiece alone (a `tokenizer.json` says so itself); None where nobody says.
    """

    path: Path
    format: TokenizerFormat
    digest: str
    chat_template: str | None
    end_token_ids: tuple[int, ...]
    special_tokens: SpecialTokens
    add_bos: bool | None = None
    add_eos: bool | None = None


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Return what a folder in Hugging Face's layout says of its tokenizer; raises SourceError.

    A `tokenizer.json` goes before a SentencePiece model (`tokenizer.model`, `spiece.model`, …).
    """
    path, form = _artefact(folder)
    config = read_json(folder / "tokenizer_config.json")
    legacy = read_json(folder / "special_tokens_map.json")
    texts = {role: _text(config.get(f"{role}_token", legacy.get(f"{role}_token"))) for role in _ROLES}
    return TokenizerFiles(
        path=path,
        format=form,
        digest=digest_of(path),
        chat_template=_template(folder, config),
        end_token_ids=_end_tokens(folder) or _ids_of(path, form, texts["eos"]),
        special_tokens=SpecialTokens(**texts),
        add_bos=_flag(config.get("add_bos_token")),
        add_eos=_flag(config.get("add_eos_token")),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty where there is no such file; raises SourceError."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SourceError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path.name} holds no JSON object.")
    return content


def _artefact(folder: Path) -> tuple[Path, TokenizerFormat]:
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json", TokenizerFormat.HF_TOKENIZER_JSON
    models = sorted(each for each in folder.glob("*.model") if each.is_file())
    if len(models) > 1:
        models = [each for each in models if each.name == "tokenizer.model"]
    if models:
        return models[0], TokenizerFormat.SENTENCEPIECE
    raise SourceError("it holds neither a tokenizer.json nor a SentencePiece model.")


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Return the chat template: its own file, or in the configuration a text or a list of named ones."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8", errors="replace")
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _end_tokens(folder: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        ids = read_json(folder / name).get("eos_token_id")
        listed = ids if isinstance(ids, list) else [ids]
        if ids is not None and all(isinstance(each, int) for each in listed):
            return tuple(listed)
    return ()


def _ids_of(path: Path, form: TokenizerFormat, token: str | None) -> tuple[int, ...]:
    """Return the id of a special token by its text, where the artefact tells."""
    if token is None or form is not TokenizerFormat.HF_TOKENIZER_JSON:
        return ()
    added = read_json(path).get("added_tokens") or []
    return tuple(each["id"] for each in added if each.get("content") == token)


def _text(token: Any) -> str | None:
    """Return a special token's text; older files give an object with its content."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_ROLES = ("bos", "eos", "unk", "pad")

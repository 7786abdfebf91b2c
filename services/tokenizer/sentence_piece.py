"""Tokenizers of SentencePiece, for models that come with nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sentencepiece import SentencePieceProcessor

from services.tokenizer.backend import Item, TokenSequence


@dataclass(frozen=True)
class PieceSequence:
    """A TokenSequence with its lists at hand."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    type_ids: tuple[int, ...]
    sequence_ids: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.ids)


class SentencePieceTokenizer:
    """A SentencePiece model.

    BOS and EOS are put around a text as `add_bos` and `add_eos` say; None leaves it to the model: BOS where
    it has one, else EOS. Control pieces that a text spells, such as `</s>`, become their ids, as chat
    templates need it; what stands between them is encoded as a text of its own.
    """

    def __init__(self, artifact: bytes, *, add_bos: bool | None = None, add_eos: bool | None = None) -> None:
        """Load the bytes of a SentencePiece model; raises ValueError."""
        try:
            self._pieces: Any = SentencePieceProcessor(model_proto=artifact)
        except Exception as error:  # the library raises RuntimeErrors
            raise ValueError(f"the SentencePiece model cannot be used: {error}") from error
        self.vocabulary_size: int = self._pieces.get_piece_size()
        control = [index for index in range(self.vocabulary_size) if self._pieces.is_control(index)]
        self._control = {self._pieces.id_to_piece(index): index for index in control}
        self.special_ids = frozenset((*control, self._pieces.unk_id()))
        spelled = sorted(self._control, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, spelled)) + ")") if spelled else None
        bos, eos = self._pieces.bos_id(), self._pieces.eos_id()
        self._before = [bos] if bos >= 0 and add_bos is not False else []
        self._after = [eos] if eos >= 0 and (not self._before if add_eos is None else add_eos) else []

    def added_tokens(self, *, pair: bool) -> int:
        """Return how many special tokens are put around an item."""
        return (2 if pair else 1) * (len(self._before) + len(self._after))

    def token_id(self, text: str) -> int | None:
        """Return the id of a piece."""
        index = int(self._pieces.piece_to_id(text))
        return index if self._pieces.id_to_piece(index) == text else None

    def encode(
        self,
        items: Sequence[Item],
        *,
        add_special_tokens: bool,
        offsets: bool,  # noqa: ARG002 - they come at no cost
    ) -> Sequence[TokenSequence]:
        """Return one sequence an item. Of a pair each text gets its own special tokens."""
        return [self._item(each, add_special_tokens) for each in items]

    def decode(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Return one text a sequence; special tokens that are kept stand as they are spelled."""
        return [self._text(list(each), skip_special_tokens) for each in sequences]

    def _item(self, item: Item, add_special_tokens: bool) -> PieceSequence:  # noqa: FBT001 - passed on
        texts = (item,) if isinstance(item, str) else item
        before, after = (self._before, self._after) if add_special_tokens else ([], [])
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        types: list[int] = []
        sequences: list[int | None] = []
        for number, text in enumerate(texts):
            inner, places = self._encode(text)
            ids += [*before, *inner, *after]
            offsets += [*[(0, 0)] * len(before), *places, *[(0, 0)] * len(after)]
            types += [number] * (len(before) + len(inner) + len(after))
            sequences += [*[None] * len(before), *[number] * len(inner), *[None] * len(after)]
        return PieceSequence(tuple(ids), tuple(offsets), tuple(types), tuple(sequences))

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        position = 0
        for part in self._split.split(text) if self._split else [text]:
            if part in self._control:
                ids.append(self._control[part])
                offsets.append((position, position + len(part)))
            elif part:
                mapped = self._pieces.encode(part, return_type="offset_mapping")
                ids += mapped["ids"]
                offsets += [(position + start, position + end) for start, end in mapped["offsets"]]
            position += len(part)
        return ids, offsets

    def _text(self, ids: list[int], skip_special_tokens: bool) -> str:  # noqa: FBT001 - passed on
        if skip_special_tokens:
            return str(self._pieces.decode([each for each in ids if each not in self.special_ids]))
        texts: list[str] = []
        run: list[int] = []
        for each in [*ids, None]:
            if each is not None and each not in self.special_ids:
                run.append(each)
                continue
            texts.append(self._pieces.decode(run) if run else "")
            texts.append("" if each is None else self._pieces.id_to_piece(each))
            run = []
        return "".join(texts)

"""A decoder that is a function of its context, read through the block tables: a mix-up changes the text.

Its cache holds, for every place of every block, the token that was written there and its position. The next
token follows from all tokens that a row can see: mostly it repeats what came five tokens before, so that
drafts come true, and sometimes a hash of the whole context decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from services.inference_worker.engine.batch import BLOCK_TOKENS, Floats, Ints, RaggedBatch
from services.inference_worker.engine.runner import StepResult
from services.inference_worker.engine.sampler import choose
from services.inference_worker.engine.sequence import Sequence as Answer
from services.inference_worker.wire import Generate

VOCABULARY = 64
END = 2
_PERIOD = 5


def logits_after(context: Sequence[int]) -> Floats:
    """Return the next token's logits, float32 [VOCABULARY]."""
    digest = blake2b(np.asarray(context, np.int32).tobytes(), digest_size=VOCABULARY).digest()
    logits = np.frombuffer(digest, np.uint8).astype(np.float32) / 64
    if digest[0] > 64 and len(context) >= _PERIOD:
        logits[context[-_PERIOD]] += 6
    return logits


def greedy(prompt: Sequence[int], count: int) -> list[int]:
    """Return what follows the prompt, an end token and all."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(logits_after(tokens).argmax()))
    return tokens[len(prompt) :]


def answer(request: Generate, context_length: int) -> list[int]:
    """Return the answer to a request as it is defined: a token at a time from all tokens before it."""
    limit = min(len(request.token_ids) + request.sampling.max_tokens, context_length)
    one = Answer(request, limit, frozenset() if request.sampling.ignore_eos else frozenset({END}))
    while True:
        logits = logits_after(one.tokens)
        if one.accept(choose(logits, int(logits.argmax()), one).token, 1.0):
            return one.tokens[one.prompt_length :]


@dataclass
class StampedRunner:
    """The decoder. `before_step` is called with each step's batch; what it raises, the step raises."""

    blocks: int = 64
    context_length: int = 512
    end_token_ids: frozenset[int] = frozenset()
    before_step: Callable[[RaggedBatch], None] = lambda _: None
    vocabulary_size: int = VOCABULARY
    memory_bytes: int = 0
    steps: int = 0
    tokens: Ints = field(init=False)
    positions: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = np.full(self.blocks * BLOCK_TOKENS, -1, np.int32)
        self.positions = np.full(self.blocks * BLOCK_TOKENS, -1, np.int32)

    def step(self, batch: RaggedBatch) -> StepResult:
        self.steps += 1
        self.before_step(batch)
        places = self._places(batch)
        self.tokens[places], self.positions[places] = batch.tokens, batch.positions
        logits = [logits_after(self._context(batch, row)) for row in batch.wanted]
        rows = np.stack(logits) if logits else np.zeros((0, VOCABULARY), np.float32)
        return StepResult(rows.argmax(-1).astype(np.int32), rows if batch.logits else rows[:0])

    def _places(self, batch: RaggedBatch) -> Ints:
        blocks = batch.block_tables[batch.sequences, batch.positions // BLOCK_TOKENS]
        return blocks * BLOCK_TOKENS + batch.positions % BLOCK_TOKENS

    def _context(self, batch: RaggedBatch, row: int) -> list[int]:
        """Return the tokens that a row sees, which must have been written for the places they are read at."""
        seen = np.arange(batch.positions[row] + 1)
        table = batch.block_tables[batch.sequences[row]]
        places = table[seen // BLOCK_TOKENS] * BLOCK_TOKENS + seen % BLOCK_TOKENS
        assert (self.positions[places] == seen).all(), "a row reads what was never written for it"
        tokens: list[int] = self.tokens[places].tolist()
        return tokens

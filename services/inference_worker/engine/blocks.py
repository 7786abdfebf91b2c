"""The cache's blocks: who holds which, and which of them hold a prefix that others may go on from.

After PagedAttention (Kwon et al., SOSP 2023). A full block is known by a hash of its tokens and of all before
them, down to the tenant: equal hashes are equal prefixes of one tenant, and nobody finds another's.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from services.inference_worker.engine.batch import BLOCK_TOKENS, Ints

_KEY_BYTES = 16  # 128 bits: two prefixes that meet need 2**64 tries


def blocks_for(tokens: int) -> int:
    """Return how many blocks hold so many tokens."""
    return -(-tokens // BLOCK_TOKENS)


@dataclass(slots=True, eq=False)
class BlockTable:
    """The blocks of one sequence of `tenant`, of at most `limit` tokens: token p lies in `ids[p // 16]`.

    The first `held` ids count; the first `published` of those are full, computed and in the pool's index.
    """

    tenant: str
    limit: int
    ids: Ints = field(init=False)
    held: int = 0
    published: int = 0
    keys: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = np.zeros(blocks_for(self.limit), np.int32)
        self.keys = [_key(self.tenant.encode())]

    def key(self, index: int, tokens: list[int]) -> bytes:
        """Return the hash of the sequence's `tokens` up to the end of block `index`, which must be full."""
        while len(self.keys) <= index + 1:
            start = (len(self.keys) - 1) * BLOCK_TOKENS
            self.keys.append(_key(self.keys[-1] + array("I", tokens[start : start + BLOCK_TOKENS]).tobytes()))
        return self.keys[index + 1]


class BlockPool:
    """All blocks of one cache. A block is held by so many tables, or free; a free one may still be found.

    Free blocks that nobody can find are taken first, then the one that has lain unused the longest.
    """

    def __init__(self, blocks: int) -> None:
        if blocks <= 0:
            raise ValueError(f"a cache has at least one block, not {blocks}")
        self.blocks = blocks
        self._holders = [0] * blocks
        self._keys: list[bytes | None] = [None] * blocks
        self._index: dict[bytes, int] = {}
        self._blank = list(range(blocks - 1, -1, -1))
        self._cached: OrderedDict[int, None] = OrderedDict()  # free and in the index, longest unused first

    @property
    def free(self) -> int:
        """Blocks that no table holds."""
        return len(self._blank) + len(self._cached)

    def need(self, table: BlockTable, tokens: list[int]) -> int:
        """Return how many free blocks an empty table takes for all `tokens`, after what it would share."""
        need = blocks_for(len(tokens))
        for index in range(_shareable(tokens)):
            block = self._index.get(table.key(index, tokens))
            if block is None:
                break
            need -= self._holders[block] > 0
        return need

    def attach_prefix(self, table: BlockTable, tokens: list[int], computed: int) -> int:
        """Put blocks that others have computed into the table; return how many tokens are computed now.

        Never all: the last token's logits are wanted. What the table held in those places goes back.
        """
        if computed % BLOCK_TOKENS:
            return computed
        for index in range(computed // BLOCK_TOKENS, _shareable(tokens)):
            block = self._index.get(table.key(index, tokens))
            if block is None:
                break
            self._hold(block)
            if index < table.held:
                self._drop(int(table.ids[index]))
            table.ids[index] = block
            table.published = index + 1
            table.held = max(table.held, index + 1)
            computed = (index + 1) * BLOCK_TOKENS
        return computed

    def ensure(self, table: BlockTable, tokens: int) -> bool:
        """Give the table blocks for so many tokens; return False, and give none, where too few are free."""
        missing = blocks_for(tokens) - table.held
        if missing > self.free:
            return False
        for _ in range(missing):
            block = self._take()
            self._holders[block] = 1
            table.ids[table.held] = block
            table.held += 1
        return True

    def commit(self, table: BlockTable, tokens: list[int], computed: int) -> None:
        """Publish the blocks full of computed tokens. A prefix that is there already stays as it is."""
        while (table.published + 1) * BLOCK_TOKENS <= computed:
            key, block = table.key(table.published, tokens), int(table.ids[table.published])
            if key not in self._index:
                self._index[key] = block
                self._keys[block] = key
            table.published += 1

    def release(self, table: BlockTable) -> None:
        """Take all blocks back. The ends go first, for without its beginning no prefix is found."""
        for block in reversed(table.ids[: table.held].tolist()):
            self._drop(block)
        table.held = table.published = 0

    def _take(self) -> int:
        if self._blank:
            return self._blank.pop()
        block, _ = self._cached.popitem(last=False)
        key, self._keys[block] = self._keys[block], None
        if key is not None:
            del self._index[key]
        return block

    def _hold(self, block: int) -> None:
        if not self._holders[block]:
            del self._cached[block]
        self._holders[block] += 1

    def _drop(self, block: int) -> None:
        self._holders[block] -= 1
        if self._holders[block]:
            return
        if self._keys[block] is None:
            self._blank.append(block)
        else:
            self._cached[block] = None


def _shareable(tokens: list[int]) -> int:
    return (len(tokens) - 1) // BLOCK_TOKENS


def _key(content: bytes) -> bytes:
    return blake2b(content, digest_size=_KEY_BYTES).digest()

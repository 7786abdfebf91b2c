"""Blocks: shared by prefix, never between tenants, none lost, the longest unused forgotten first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.blocks import BlockPool, BlockTable

PROMPT = list(range(100, 150))  # three full blocks and two tokens


def read(pool: BlockPool, tokens: list[int], tenant: str = "") -> tuple[BlockTable, int]:
    """Give tokens a table and compute them; return the table and how many came from the cache."""
    table = BlockTable(tenant, 400)
    cached = pool.attach_prefix(table, tokens, 0)
    assert pool.ensure(table, len(tokens))
    pool.commit(table, tokens, len(tokens))
    return table, cached


def held(table: BlockTable) -> list[int]:
    ids: list[int] = table.ids[: table.held].tolist()
    return ids


def test_a_prefix_is_shared_while_and_after_it_is_held():
    pool = BlockPool(10)
    first, cached = read(pool, PROMPT)
    assert (cached, pool.free) == (0, 6)
    second, cached = read(pool, [*PROMPT[:40], 7, 7])
    assert (cached, pool.free) == (32, 5)
    assert held(second)[:2] == held(first)[:2]
    for table in (first, second):
        pool.release(table)
    assert pool.free == 10
    assert read(pool, PROMPT)[1] == 48


def test_the_last_token_is_never_shared_for_its_logits_are_wanted():
    pool = BlockPool(10)
    read(pool, PROMPT)
    assert read(pool, PROMPT[:48])[1] == 32
    assert read(pool, PROMPT[:16])[1] == 0


def test_a_block_is_shared_only_where_all_before_it_is_the_same():
    pool = BlockPool(20)
    read(pool, PROMPT)
    assert read(pool, [1, *PROMPT[1:]])[1] == 0
    assert read(pool, [*PROMPT[:16], 1, *PROMPT[17:]])[1] == 16


def test_tenants_never_share():
    pool = BlockPool(20)
    read(pool, PROMPT, "a")
    assert read(pool, PROMPT, "b")[1] == 0
    assert read(pool, PROMPT, "")[1] == 0
    assert read(pool, PROMPT, "a")[1] == 48


def test_what_is_not_computed_yet_is_not_shared():
    pool, table = BlockPool(20), BlockTable("", 400)
    pool.ensure(table, 50)
    pool.commit(table, PROMPT, 31)
    assert read(pool, PROMPT)[1] == 16


def test_a_prefix_that_others_have_read_meanwhile_replaces_own_blocks():
    pool, slow = BlockPool(20), BlockTable("", 400)
    pool.ensure(slow, 50)
    pool.commit(slow, PROMPT, 16)
    fast, _ = read(pool, PROMPT)
    free = pool.free
    assert pool.attach_prefix(slow, PROMPT, 16) == 48
    assert held(slow)[1:3] == held(fast)[1:3]
    assert pool.free == free + 2
    assert pool.attach_prefix(slow, PROMPT, 49) == 49


def test_none_are_given_where_too_few_are_free():
    pool = BlockPool(3)
    one, two = BlockTable("", 400), BlockTable("", 400)
    assert pool.ensure(one, 32)
    assert not pool.ensure(two, 17)
    assert (two.held, pool.free) == (0, 1)
    assert pool.ensure(two, 16)
    assert not pool.ensure(one, 33)


def test_what_has_lain_unused_the_longest_goes_first_and_a_prefix_from_its_end():
    pool = BlockPool(8)
    old, _ = read(pool, PROMPT[:48])
    new, _ = read(pool, [7] * 48)
    pool.release(old)
    pool.release(new)
    taken = BlockTable("", 400)
    assert pool.ensure(taken, 64)  # two that were never used, and two of the old prefix
    assert pool.need(BlockTable("", 400), PROMPT[:48]) == 3
    pool.release(taken)
    assert read(pool, PROMPT[:48])[1] == 16
    assert read(pool, [7] * 49)[1] == 48


def test_the_need_of_a_prompt_counts_what_others_hold_but_not_what_is_free():
    pool = BlockPool(10)
    table, _ = read(pool, PROMPT)
    assert pool.need(BlockTable("", 400), PROMPT) == 1
    pool.release(table)
    assert pool.need(BlockTable("", 400), PROMPT) == 4


def test_a_cache_without_blocks_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        BlockPool(0)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 120), st.booleans()), max_size=40))
def test_no_block_is_lost_and_none_is_in_two_places(moves: list[tuple[int, int, bool]]):
    pool, tables = BlockPool(12), list[BlockTable]()
    for kind, length, gives_back in moves:
        if gives_back and tables:
            pool.release(tables.pop(length % len(tables)))
            continue
        tokens, table = [kind] * length, BlockTable("", 400)
        cached = pool.attach_prefix(table, tokens, 0)
        assert cached < length
        if pool.ensure(table, length):
            pool.commit(table, tokens, length)
            tables.append(table)
        else:
            pool.release(table)
        assert all(len(set(held(each))) == each.held for each in tables)
        assert len({block for each in tables for block in held(each)}) == 12 - pool.free
    for table in tables:
        pool.release(table)
    assert pool.free == 12

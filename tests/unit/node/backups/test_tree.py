from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.base.errors import InvalidInput
from insula.node.backups.sealing import CHUNK_BYTES, ZERO_ID
from insula.node.backups.tree import FANOUT, PAGE_BYTES, Change, Leaf, Tree, changed, leaves

NUMBERS = st.integers(0, 3 * FANOUT * FANOUT)
IDS = st.binary(min_size=32, max_size=32)


class Pages:
    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.read_count = 0

    async def read_page(self, page_id: bytes) -> bytes:
        self.read_count += 1
        return self.held[page_id]

    async def write_page(self, page: bytes) -> bytes:
        assert len(page) == PAGE_BYTES
        page_id = hashlib.sha256(page).digest()
        self.held[page_id] = page
        return page_id


async def changes(chunks: Mapping[int, bytes]) -> AsyncIterator[Change]:
    for number, chunk_id in sorted(chunks.items()):
        yield Change(number, chunk_id)


async def chunks_of(tree: Tree, pages: Pages) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async for leaf in leaves(tree, pages.read_page):
        assert isinstance(leaf, Leaf)
        found |= {change.number: change.id for change in leaf.chunks()}
    return found


@given(generations=st.lists(st.dictionaries(NUMBERS, IDS | st.just(ZERO_ID), max_size=20), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
async def test_a_tree_is_what_its_changes_made_of_it(generations: list[dict[int, bytes]]) -> None:
    pages, tree, size = Pages(), None, 1
    wanted: dict[int, bytes] = {}
    for generation in generations:
        size = max(size, max(generation, default=0) + 1)  # disks grow, past the height of the tree before
        tree = await changed(size * CHUNK_BYTES, tree, changes(generation), pages)
        wanted |= generation
        assert await chunks_of(tree, pages) == {number: each for number, each in wanted.items() if each != ZERO_ID}


async def test_what_did_not_change_is_neither_read_nor_written() -> None:
    pages = Pages()
    size = FANOUT * FANOUT * CHUNK_BYTES
    everywhere = {number * FANOUT: number.to_bytes(32, "big") for number in range(1, FANOUT)}
    tree = await changed(size, None, changes(everywhere), pages)
    before, pages.read_count = len(pages.held), 0
    await changed(size, tree, changes({5: b"\1" * 32}), pages)
    assert len(pages.held) == before + 2  # one page and the root
    assert pages.read_count == 1


async def test_an_empty_disk_has_no_pages() -> None:
    pages = Pages()
    tree = await changed(1 << 44, None, changes({7: ZERO_ID}), pages)
    assert (tree.root, pages.held) == (ZERO_ID, {})


@pytest.mark.parametrize("wrong", [[3, 3], [3, 2], [FANOUT * FANOUT]])
async def test_changes_out_of_order_or_beyond_the_end_are_refused(wrong: list[int]) -> None:
    async def bad() -> AsyncIterator[Change]:
        for number in wrong:
            yield Change(number, b"\1" * 32)

    pages = Pages()
    with pytest.raises(InvalidInput):
        await changed(10 * CHUNK_BYTES, None, bad(), pages)


async def test_a_disk_that_shrank_is_refused() -> None:
    pages = Pages()
    with pytest.raises(InvalidInput, match="smaller"):
        await changed(CHUNK_BYTES, Tree(ZERO_ID, 2 * CHUNK_BYTES), changes({}), pages)

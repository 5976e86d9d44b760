"""A disk's map: which chunk is where, as a tree of pages of chunk ids. Pages are chunks, too.

A page has 1024 ids: of chunks in the lowest level, of pages above. What did not change between two backups is the same
page, and stored once. A page of zeros only is named by the id of zeros, and so on upwards: holes cost nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from insula.base.errors import DataCorrupt, InvalidInput
from insula.node.backups.sealing import CHUNK_BYTES, ID_BYTES, ZERO_ID

FANOUT = CHUNK_BYTES // ID_BYTES // 2  # pages are half as large as chunks, so that scattered changes cost less
PAGE_BYTES = FANOUT * ID_BYTES
EMPTY_PAGE = bytes(PAGE_BYTES)

ReadPage = Callable[[bytes], Awaitable[bytes]]


class Pages(Protocol):
    """Where pages are read from and stored."""

    async def read_page(self, page_id: bytes) -> bytes: ...
    async def write_page(self, page: bytes) -> bytes: ...  # returns its id


@dataclass(frozen=True)
class Tree:
    """A disk of `size_bytes`, whose topmost page is `root`."""

    root: bytes
    size_bytes: int

    @property
    def levels(self) -> int:
        """How many levels of pages lie above the chunks; at least one."""
        return _levels(self.size_bytes)

    def range_of(self, first: int, end: int) -> tuple[int, int]:
        """The bytes, from and to, of the chunks from number `first` up to `end`."""
        return first * CHUNK_BYTES, min(end * CHUNK_BYTES, self.size_bytes)


@dataclass(frozen=True)
class Change:
    """A chunk that is another now: its number on the disk and its id."""

    number: int
    id: bytes


class _Ahead:
    """Changes with a look at the next one."""

    def __init__(self, changes: AsyncIterator[Change]) -> None:
        self._changes = changes
        self.next: Change | None = None

    async def step(self) -> None:
        before = self.next
        self.next = await anext(self._changes, None)
        if before is not None and self.next is not None and self.next.number <= before.number:
            raise InvalidInput("The changes of a disk must come in ascending order", code="backup-order")


async def changed(size_bytes: int, parent: Tree | None, changes: AsyncIterator[Change], pages: Pages) -> Tree:
    """The tree of a disk that is like `parent` (all zeros without one) but for the changes, in ascending order.

    Raises InvalidInput when the disk became smaller, or a change lies beyond its end.
    """
    if parent is not None and parent.size_bytes > size_bytes:
        raise InvalidInput("A disk cannot become smaller between backups", code="backup-shrunk")
    levels = _levels(size_bytes)
    root = ZERO_ID if parent is None else parent.root
    for _ in range(levels - (parent.levels if parent is not None else levels)):
        if root != ZERO_ID:  # the disk grew: what was the topmost page is the first one below a new one
            root = await pages.write_page(root + EMPTY_PAGE[ID_BYTES:])
    ahead = _Ahead(changes)
    await ahead.step()
    root = await _rebuilt(root, levels - 1, 0, ahead, pages)
    if ahead.next is not None:
        raise InvalidInput("A change lies beyond the end of the disk", code="backup-order")
    return Tree(root, size_bytes)


async def _rebuilt(page_id: bytes, level: int, first: int, ahead: _Ahead, pages: Pages) -> bytes:
    """The id of a page that covers chunks from number `first` on, after the changes that concern it."""
    span = FANOUT**level  # chunks under one entry
    end = first + span * FANOUT
    if ahead.next is None or ahead.next.number >= end:
        return page_id
    page = bytearray(EMPTY_PAGE if page_id == ZERO_ID else await pages.read_page(page_id))
    while ahead.next is not None and ahead.next.number < end:
        slot = (ahead.next.number - first) // span
        at = slot * ID_BYTES
        if level == 0:
            page[at : at + ID_BYTES] = ahead.next.id
            await ahead.step()
        else:
            below = bytes(page[at : at + ID_BYTES])
            page[at : at + ID_BYTES] = await _rebuilt(below, level - 1, first + slot * span, ahead, pages)
    return ZERO_ID if page == EMPTY_PAGE else await pages.write_page(bytes(page))


@dataclass(frozen=True)
class Leaf:
    """A lowest page: the ids of the chunks from number `first` on."""

    first: int
    page: bytes

    def chunks(self) -> list[Change]:
        """All that are not zeros."""
        ids = [self.page[at : at + ID_BYTES] for at in range(0, len(self.page), ID_BYTES)]
        return [Change(self.first + slot, chunk) for slot, chunk in enumerate(ids) if chunk != ZERO_ID]


@dataclass(frozen=True)
class Unreadable:
    """A page that cannot be read: the chunks from number `first` up to `end` are not known. `error` is why."""

    id: bytes
    first: int
    end: int
    error: DataCorrupt


Skip = Callable[[bytes, int, int], bool]


async def leaves(
    tree: Tree, read: ReadPage, *, skip: Skip = lambda _id, _first, _end: False, tolerant: bool = False
) -> AsyncIterator[Leaf | Unreadable]:
    """All lowest pages that are not empty, in ascending order.

    `skip` is asked for each page by its id and the numbers of its chunks, from and to; what it wants is left out with
    all below it. A page that is damaged is raised, or told of if `tolerant`.
    """
    waiting = [(tree.root, tree.levels - 1, 0)]
    while waiting:
        page_id, level, first = waiting.pop()
        span = FANOUT**level
        if page_id == ZERO_ID or skip(page_id, first, first + span * FANOUT):
            continue
        try:
            page = await read(page_id)
        except DataCorrupt as error:
            if not tolerant:
                raise
            yield Unreadable(page_id, first, first + span * FANOUT, error)
            continue
        if level == 0:
            yield Leaf(first, page)
            continue
        below = [(page[slot * ID_BYTES : (slot + 1) * ID_BYTES], slot) for slot in range(FANOUT)]
        waiting += [(child, level - 1, first + slot * span) for child, slot in reversed(below) if child != ZERO_ID]


def _levels(size_bytes: int) -> int:
    chunks, levels = -(-size_bytes // CHUNK_BYTES), 1
    while chunks > FANOUT**levels:
        levels += 1
    return levels

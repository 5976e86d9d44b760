"""Reading: chunks out of packs, many at once where they lie side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from insula.base.errors import DataCorrupt, NotFound
from insula.node.backups.index import Index
from insula.node.backups.pack import Place, object_of
from insula.node.backups.sealing import CHUNK_BYTES, Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Change, Leaf, Tree, Unreadable, leaves
from insula.node.backups.turns import in_turns

_AT_ONCE = 4
_GAP_BYTES = 256 << 10  # read and thrown away rather than asked for in two requests
_MOST_BYTES = 8 << 20  # in one request


@dataclass(frozen=True)
class Piece:
    """A part of a disk that is not zeros: its bytes, or why they are lost (`data` is empty then)."""

    offset: int
    length: int
    data: bytes = b""
    lost: str = ""


@dataclass(frozen=True)
class _Run:
    """Chunks that lie close together in one pack, in the order of the pack."""

    chunks: tuple[tuple[Change, Place], ...]

    @property
    def begin(self) -> int:
        return self.chunks[0][1].offset

    @property
    def end(self) -> int:
        return self.chunks[-1][1].offset + self.chunks[-1][1].length


class Reader:
    """Reads chunks and disks of one repository."""

    def __init__(self, target: Target, sealer: Sealer, index: Index) -> None:
        self._target = target
        self._sealer = sealer
        self._index = index

    async def chunk(self, chunk_id: bytes) -> bytes:
        """The content of a chunk. Raises DataCorrupt when it is damaged or gone."""
        place = self._index.find(chunk_id)
        if place is None:
            raise _missing(chunk_id)
        try:
            sealed = await self._target.get(object_of(place.pack), place.offset, place.length)
        except NotFound as error:
            raise _missing(chunk_id) from error
        return self._sealer.open(chunk_id, sealed, at_most=CHUNK_BYTES)

    async def disk(
        self, tree: Tree, begin: int = 0, end: int | None = None, *, tolerant: bool = False
    ) -> AsyncIterator[Piece]:
        """All of a disk, or from byte `begin` to `end`, that is not zeros, in ascending order; whole chunks.

        Raises DataCorrupt at the first part that is lost, or tells of it if `tolerant`.
        """
        end = tree.size_bytes if end is None else min(end, tree.size_bytes)
        first, last = begin // CHUNK_BYTES, -(-end // CHUNK_BYTES)

        def is_outside(_page: bytes, page_first: int, page_end: int) -> bool:
            return page_end <= first or last <= page_first

        ahead: deque[asyncio.Task[list[Piece]]] = deque()  # the next leaf is read while one is looked at
        try:
            async for leaf in leaves(tree, self.chunk, skip=is_outside, tolerant=tolerant):
                ahead.append(asyncio.create_task(self._of_leaf(leaf, tree, range(first, last), tolerant)))
                if len(ahead) > 1:
                    for piece in await ahead.popleft():
                        yield piece
            while ahead:
                for piece in await ahead.popleft():
                    yield piece
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _of_leaf(self, leaf: Leaf | Unreadable, tree: Tree, wanted: range, tolerant: bool) -> list[Piece]:
        """The pieces of the chunks whose numbers are wanted."""
        if isinstance(leaf, Unreadable):
            lost_from, lost_to = tree.range_of(leaf.first, leaf.end)
            return [Piece(lost_from, lost_to - lost_from, lost=str(leaf.error))]
        return await self._pieces([chunk for chunk in leaf.chunks() if chunk.number in wanted], tree, tolerant)

    async def _pieces(self, wanted: Sequence[Change], tree: Tree, tolerant: bool) -> list[Piece]:
        gone = [chunk for chunk in wanted if chunk.id not in self._index]
        if gone and not tolerant:
            raise _missing(gone[0].id)

        runs = _runs(wanted, self._index.find)
        found = await in_turns((partial(self._read_run, run, tree, tolerant) for run in runs), _AT_ONCE)
        lost = [_piece(tree, chunk, lost=str(_missing(chunk.id))) for chunk in gone]
        pieces = [*lost, *(piece for pieces in found for piece in pieces)]
        return sorted(pieces, key=lambda piece: piece.offset)

    async def _read_run(self, run: _Run, tree: Tree, tolerant: bool) -> list[Piece]:
        try:
            data = await self._target.get(object_of(run.chunks[0][1].pack), run.begin, run.end - run.begin)
        except NotFound as error:
            if not tolerant:
                raise _missing(run.chunks[0][0].id) from error
            data = b""
        return await asyncio.to_thread(self._opened, run, data, tree, tolerant)

    def _opened(self, run: _Run, data: bytes, tree: Tree, tolerant: bool) -> list[Piece]:
        pieces = []
        for chunk, place in run.chunks:
            sealed = data[place.offset - run.begin : place.offset - run.begin + place.length]
            try:
                content = self._sealer.open(chunk.id, sealed, at_most=CHUNK_BYTES)
            except DataCorrupt as error:
                if not tolerant:
                    raise
                pieces.append(_piece(tree, chunk, lost=str(error)))
            else:
                pieces.append(_piece(tree, chunk, content))
        return pieces


def _piece(tree: Tree, chunk: Change, content: bytes = b"", lost: str = "") -> Piece:
    begin, end = tree.range_of(chunk.number, chunk.number + 1)
    return Piece(begin, end - begin, content[: end - begin], lost)


def _runs(wanted: Sequence[Change], find: Callable[[bytes], Place | None]) -> list[_Run]:
    placed = [(chunk, place) for chunk in wanted if (place := find(chunk.id)) is not None]
    placed.sort(key=lambda each: (each[1].pack, each[1].offset))
    runs: list[list[tuple[Change, Place]]] = []
    for chunk, place in placed:
        last = runs[-1][-1][1] if runs else None
        is_near = (
            last is not None and last.pack == place.pack and place.offset - last.offset - last.length <= _GAP_BYTES
        )
        if is_near and place.offset + place.length - runs[-1][0][1].offset <= _MOST_BYTES:
            runs[-1].append((chunk, place))
        else:
            runs.append([(chunk, place)])
    return [_Run(tuple(run)) for run in runs]


def _missing(chunk_id: bytes) -> DataCorrupt:
    return DataCorrupt(
        "A part of a backup is gone",
        why=f"No pack of the store has the chunk {chunk_id.hex()[:16]}…",
        todo="Check the store; what is whole can still be restored",
        code="backup-damaged",
    )

"""Writing: changed parts of disks become chunks, chunks become packs, packs go to the target."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from insula.base.errors import InvalidInput
from insula.node.backups.index import Index, PackFacts, facts_of, write_part
from insula.node.backups.pack import PACK_BYTES, PackBuilder, object_of
from insula.node.backups.reader import Reader
from insula.node.backups.sealing import CHUNK_BYTES, ZERO_ID, Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Change, Tree, changed

_UPLOADS = 2  # packs on their way at once, each in memory
_BATCH_BYTES = 1 << 20  # what one thread works on at a time
_PACKS_A_PART = 8  # packs after which the index is stored: what a killed backup stored before is not stored again


@dataclass(frozen=True)
class Extent:
    """A changed part of a disk: its bytes, or zeros of `length` when `data` is None.

    `offset` and length are multiples of the chunk size; only the end of the disk may cut the last chunk short.
    """

    offset: int
    length: int
    data: bytes | None = None


@dataclass(frozen=True)
class DiskContent:
    """What a disk is now: as it was in the tree `parent`, but for the extents, which come in ascending order."""

    size_bytes: int
    changes: AsyncIterator[Extent]
    parent: Tree | None = None


class Writer:
    """Stores chunks that the store does not have. One backup at a time; call :meth:`finish` at its end."""

    def __init__(self, target: Target, sealer: Sealer, index: Index) -> None:
        self._target = target
        self._sealer = sealer
        self._index = index
        self._reader = Reader(target, sealer, index)
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="backup")
        self._pack = PackBuilder(sealer)
        self._in_pack: dict[bytes, bytes] = {}  # chunks that are not in the target yet; pages are read again
        self._uploads: set[asyncio.Task[None]] = set()
        self._unlisted: list[PackFacts] = []
        self.added_bytes = 0
        self.packs: set[str] = set()  # that it wrote

    async def store_disk(self, disk: DiskContent) -> Tree:
        """Store what is new of a disk. Raises what its changes and the target raise, and InvalidInput."""
        return await changed(disk.size_bytes, disk.parent, self._chunks(disk), self)

    async def add(self, chunk_id: bytes, sealed: bytes) -> None:
        """Store a sealed chunk unless it is there already."""
        if chunk_id in self._index or chunk_id in self._in_pack:
            return
        self._in_pack[chunk_id] = sealed
        self._pack.add(chunk_id, sealed)
        if self._pack.size_bytes >= PACK_BYTES:
            await self._send()

    async def finish(self) -> None:
        """Until all that was stored is durable and in the index."""
        if self._pack.size_bytes:
            await self._send()
        while self._uploads:
            await self._await_upload()
        await self._list_packs()

    async def close(self) -> None:
        """Give up what is under way. Packs that were sent stay; the index names them if it was their turn."""
        for upload in self._uploads:
            upload.cancel()
        await asyncio.gather(*self._uploads, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _chunks(self, disk: DiskContent) -> AsyncIterator[Change]:
        """The disk's changed chunks, stored. Several batches are worked on at once; they come out in order."""
        waiting: deque[asyncio.Future[list[tuple[Change, bytes]]]] = deque()
        loop = asyncio.get_running_loop()
        try:
            async for batch in _batches(disk):
                waiting.append(loop.run_in_executor(self._pool, self._sealed, batch))
                if len(waiting) > 2 * len(os.sched_getaffinity(0)):
                    async for change in self._taken(await waiting.popleft()):
                        yield change
            while waiting:
                async for change in self._taken(await waiting.popleft()):
                    yield change
        finally:
            for each in waiting:
                each.cancel()

    async def _taken(self, found: list[tuple[Change, bytes]]) -> AsyncIterator[Change]:
        for change, sealed in found:
            if sealed:
                await self.add(change.id, sealed)
            yield change

    def _sealed(self, extent: Extent) -> list[tuple[Change, bytes]]:
        """The chunks of an extent with what is to be stored: nothing for those that are there. Runs in a thread."""
        found = []
        first = extent.offset // CHUNK_BYTES
        for number, at in enumerate(range(0, extent.length, CHUNK_BYTES), first):
            if extent.data is None:
                found.append((Change(number, ZERO_ID), b""))
                continue
            content = extent.data[at : at + CHUNK_BYTES].ljust(CHUNK_BYTES, b"\0")
            chunk_id = self._sealer.id_of(content)
            is_new = chunk_id != ZERO_ID and chunk_id not in self._index and chunk_id not in self._in_pack
            found.append((Change(number, chunk_id), self._sealer.seal(chunk_id, content) if is_new else b""))
        return found

    async def read_page(self, page_id: bytes) -> bytes:
        """A page of a disk's map, from the target or from what is on its way there."""
        sealed = self._in_pack.get(page_id)
        if sealed is not None:
            return self._sealer.open(page_id, sealed, at_most=CHUNK_BYTES)
        return await self._reader.chunk(page_id)

    async def write_page(self, page: bytes) -> bytes:
        """Store a page of a disk's map; its id."""
        page_id = self._sealer.id_of(page)
        if page_id not in self._index and page_id not in self._in_pack:
            await self.add(page_id, self._sealer.seal(page_id, page))
        return page_id

    async def _send(self) -> None:
        while len(self._uploads) >= _UPLOADS:
            await self._await_upload()
        builder, self._pack = self._pack, PackBuilder(self._sealer)
        self._uploads.add(asyncio.create_task(self._upload(builder)))

    async def _upload(self, builder: PackBuilder) -> None:
        pack = await asyncio.get_running_loop().run_in_executor(self._pool, builder.finish)
        await self._target.put(object_of(pack.name), pack.data)
        facts = facts_of(pack)
        self._index.add(facts)
        self._unlisted.append(facts)
        self.added_bytes += len(pack.data)
        self.packs.add(pack.name)
        for entry in pack.entries:
            self._in_pack.pop(entry.id, None)

    async def _await_upload(self) -> None:
        done, _ = await asyncio.wait(self._uploads, return_when=asyncio.FIRST_COMPLETED)
        for upload in done:
            upload.result()
            self._uploads.remove(upload)
        if len(self._unlisted) >= _PACKS_A_PART:
            await self._list_packs()

    async def _list_packs(self) -> None:
        if self._unlisted:
            packs, self._unlisted = self._unlisted, []
            self._index.parts.add(await write_part(self._target, self._sealer, packs))


async def _batches(disk: DiskContent) -> AsyncIterator[Extent]:
    """The changes in pieces that a thread can work on. Raises InvalidInput for what is not aligned."""
    async for extent in disk.changes:
        end = extent.offset + extent.length
        if extent.offset % CHUNK_BYTES or end > disk.size_bytes or (end % CHUNK_BYTES and end != disk.size_bytes):
            raise InvalidInput(
                "A change of a disk does not fit its chunks",
                why=f"It goes from {extent.offset} to {end} on a disk of {disk.size_bytes} bytes",
                todo=f"Take multiples of {CHUNK_BYTES}",
                code="backup-order",
            )
        for at in range(0, extent.length, _BATCH_BYTES):
            length = min(_BATCH_BYTES, extent.length - at)
            data = None if extent.data is None else extent.data[at : at + length]
            yield Extent(extent.offset + at, length, data)

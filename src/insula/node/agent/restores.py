"""Disks that are made from backups: of new instances, and as volumes.

What is restored for an instance becomes a layer that is based on nothing, with the kernel's files beside it, and the
instance's disk goes on over it. Everything is written beside its place first, so that it is whole or not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.base.log import get_logger
from insula.node.agent import backup_facts, disk_files, new_disk
from insula.node.agent.backup_facts import DISK, NVRAM
from insula.node.agent.backup_stores import BackupStores
from insula.node.agent.layers import Layers
from insula.node.agent.platforms import needs_seed
from insula.node.agent.records import InstanceRecord, Records
from insula.node.backups.manifest import Backup
from insula.node.backups.repository import Repository
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.backend import BootableImage, DiskBackend
from insula.protocol.backups import DiskSource
from insula.protocol.node import Progress, VolumeSpec

_GIB = 1 << 30
_WRITE_BYTES = 2 << 20
_FILE_BYTES = 1 << 30  # a kernel, or firmware variables: what is more is none

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance without a disk; its lock is held."""

    record: InstanceRecord

    def require_off(self, wish: str) -> None: ...  # Conflict when its machine runs
    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...


@dataclass(frozen=True)
class RestoreTools:
    """What restores need of the node."""

    stores: BackupStores
    layers: Layers
    records: Records
    disks: DiskBackend


class Restores:
    """Makes disks from backups."""

    def __init__(self, tools: RestoreTools) -> None:
        self._tools = tools

    async def make_disk(self, owner: Owner, store_id: str, backup_id: str, progress: Progress) -> None:
        """The disk of an instance that has none; nothing happens when it has one. Its next start is a boot.

        Raises NotFound, DataCorrupt that says what is lost, InvalidInput when the disk is to be smaller than it was,
        DiskFull, and what the store raises. Nothing is left then.
        """
        folder = self._tools.records.folder_of(owner.record.spec.id)
        if (folder / disk_files.DISK).exists() and owner.record.image is not None:
            return
        owner.require_off("no disk can be made for it")
        async with self._tools.stores.opened(store_id) as repository:
            backup = await repository.backup(backup_id)
            facts = backup_facts.decode(backup.facts)
            _check_size(backup, owner.record.spec.resources.disk_gib)
            async with self._tools.layers.restored(owner.record.spec.id) as layer:
                await self._fill(repository, backup, layer / disk_files.DISK, progress)
                for name in backup_facts.files_of(facts.image):
                    await _write_file(repository, backup, name, layer / name)
                image = backup_facts.placed(facts, layer / disk_files.DISK, layer)
                nvram = await _nvram(repository, backup, folder)
                await owner.change(image=image, template="", point="", saved=None, is_cut=not owner.record.spec.nics)
        await self._write_own(owner, image, folder, nvram)
        _log.info("instance restored", instance_id=owner.record.spec.id, backup_id=backup_id)
        owner.publish()

    async def _write_own(self, owner: Owner, image: BootableImage, folder: Path, nvram: Path | None) -> None:
        disks, record = self._tools.disks, owner.record
        if needs_seed(record.spec, image):
            await disks.make_seed(folder / disk_files.SEED, new_disk.seed_contents(record), record.uid)
        if nvram is not None:
            await asyncio.to_thread(nvram.replace, folder / disk_files.NVRAM)
        draft = folder / f".{disk_files.DISK}.tmp"
        await disks.layer(image.disk, draft, record.uid)
        await disks.grow(draft, record.spec.resources.disk_gib)
        await asyncio.to_thread(draft.replace, folder / disk_files.DISK)

    async def make_volume(
        self, spec: VolumeSpec, disk: Path, source: DiskSource, progress: Progress
    ) -> Sequence[tuple[int, int]]:
        """A volume's disk with what the backup's disk was; the bytes (from, to) that are lost, which are zeros on it.

        Nothing is restored when it is there. Raises DataCorrupt when something is lost, unless the source is said to be
        damaged, and as :meth:`make_disk` does.
        """
        lost: list[tuple[int, int]] = []
        if not disk.exists():
            async with self._tools.stores.opened(source.store_id) as repository:
                backup = await repository.backup(source.backup_id)
                _check_size(backup, spec.size_gib)
                lost = await self._fill(repository, backup, disk, progress, tolerant=source.damaged)
        await self._tools.disks.grow(disk, spec.size_gib)
        return lost

    async def _fill(
        self, repository: Repository, backup: Backup, target: Path, progress: Progress, *, tolerant: bool = False
    ) -> list[tuple[int, int]]:
        """Write the disk; the bytes that are lost."""
        tree, told = backup.disks[DISK], -1
        lost: list[tuple[int, int]] = []
        with disk_full_explained(f"Restoring the disk {target.name}"):
            async with (
                self._tools.disks.filled(target, tree.size_bytes) as disk,
                aclosing(repository.read(tree, tolerant=tolerant)) as pieces,
            ):
                gathered = _Gathered(disk.write)
                async for piece in pieces:
                    end = piece.offset + piece.length
                    if piece.lost:
                        _add(lost, piece.offset, end)
                    else:
                        await gathered.add(piece.offset, piece.data)
                    if (percent := end * 100 // tree.size_bytes) > told:
                        told = percent
                        progress(f"{piece.offset >> 20} of {tree.size_bytes >> 20} MiB restored", percent)
                await gathered.finish()
        return lost


class _Gathered:
    """Writes in one go what lies side by side: each go takes as long as some hundred KiB do."""

    def __init__(self, write: Callable[[int, bytes], Awaitable[None]]) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._begin = self._end = 0

    async def add(self, offset: int, data: bytes) -> None:
        if offset != self._end or self._end - self._begin >= _WRITE_BYTES:
            await self.finish()
            self._begin = self._end = offset
        self._pieces.append(data)
        self._end += len(data)

    async def finish(self) -> None:
        """Write what is left."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            await self._write(self._begin, b"".join(pieces))


def _add(ranges: list[tuple[int, int]], begin: int, end: int) -> None:
    """Add the next one, which may touch the last."""
    if ranges and ranges[-1][1] == begin:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((begin, end))


async def read_file(repository: Repository, backup: Backup, name: str) -> bytes:
    """A small file that is kept in a backup. Raises NotFound and DataCorrupt."""
    tree = backup.disks.get(name)
    if tree is None:
        raise NotFound(f"Backup {backup.id} has no {name}", why="It was made without", code="backup-damaged")
    if tree.size_bytes > _FILE_BYTES:
        raise DataCorrupt(f"The {name} of a backup is too large", why=f"It has {tree.size_bytes} bytes")
    content = bytearray(tree.size_bytes)
    async with aclosing(repository.read(tree)) as pieces:
        async for piece in pieces:
            content[piece.offset : piece.offset + piece.length] = piece.data
    return bytes(content[: tree.size_bytes])


async def _write_file(repository: Repository, backup: Backup, name: str, target: Path) -> None:
    content = await read_file(repository, backup, name)
    await asyncio.to_thread(target.write_bytes, content)
    await asyncio.to_thread(target.chmod, 0o644)  # a kernel, which machines read


async def _nvram(repository: Repository, backup: Backup, folder: Path) -> Path | None:
    if NVRAM not in backup.disks:
        return None
    draft = folder / f".{disk_files.NVRAM}.tmp"
    content = await read_file(repository, backup, NVRAM)
    await asyncio.to_thread(draft.write_bytes, content)
    return draft


def _check_size(backup: Backup, disk_gib: int) -> None:
    tree = backup.disks.get(DISK)
    if tree is None:
        raise DataCorrupt(f"Backup {backup.id} has no disk", why="Its manifest names none", code="backup-damaged")
    if tree.size_bytes > disk_gib * _GIB:
        least_gib = -(-tree.size_bytes // _GIB)
        raise InvalidInput(
            f"A disk of {disk_gib} GiB is too small for the backup",
            why=f"What was backed up has {least_gib} GiB",
            todo="Choose a plan or a size with at least that",
            code="invalid-disk-size",
            fields={"disk_gib": f"at least {least_gib}"},
        )

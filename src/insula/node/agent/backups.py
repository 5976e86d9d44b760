"""Backups of instances' disks: made while they run or not, and gone on with when they were cut off.

The disk of one instant is kept as a layer, as for a snapshot (see disk_copy), and read from there while the guest goes
on. What changed since the last backup to the same store is what lies in the layers since then; the store has the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, InsulaError, NotFound
from insula.base.log import get_logger
from insula.domain.backup import Drill
from insula.node.agent import backup_facts
from insula.node.agent.backup_facts import DISK, NVRAM
from insula.node.agent.backup_points import BackupPoint, BackupPoints
from insula.node.agent.backup_stores import BackupStores
from insula.node.agent.disk_copy import CopyTools, Owner, copy_disk
from insula.node.backups.manifest import Backup
from insula.node.backups.repository import Repository
from insula.node.backups.sealing import CHUNK_BYTES
from insula.node.backups.tree import Tree
from insula.node.backups.writer import DiskContent, Extent
from insula.node.storage import extents
from insula.node.storage.backend import DiskBackend
from insula.node.storage.extents import Change, Part
from insula.protocol.backups import (
    BackupReport,
    DamagedBackup,
    DamagedObject,
    StoreFindings,
)
from insula.protocol.node import Progress, StoredBackup

_READ_BYTES = 1 << 20
_KEY = "report"

_log = get_logger(__name__)


@dataclass(frozen=True)
class BackupTools:
    """What backups need of the node."""

    stores: BackupStores
    points: BackupPoints
    copying: CopyTools
    disks: DiskBackend
    is_kept: Callable[[str], bool]  # whether the node has the instance


class Backups:
    """Makes, lists, checks and removes them."""

    def __init__(self, tools: BackupTools) -> None:
        self._tools = tools
        self.stores = tools.stores
        self.points = tools.points
        self._at_work: set[str] = set()

    async def freeze(self, owner: Owner, backup_id: str, store_id: str) -> BackupPoint:
        """Keep what the disk is now, for :meth:`store`; the caller holds the instance. May be repeated.

        Raises Conflict, NotFound for an unknown store, and what :func:`copy_disk` raises.
        """
        point = self.points.find(backup_id)
        if point is None:
            await self.stores.key(store_id)
            _check_in_step(owner)
            nvram = self.points.nvram_of(backup_id)
            copy = await copy_disk(self._tools.copying, owner, nvram)
            point = BackupPoint(
                backup_id,
                store_id,
                owner.record.spec,
                now_utc(),
                copy.image,
                copy.consistency,
                copy.paused_ms,
                copy.frozen_ms,
            )
            await asyncio.to_thread(self.points.save, point)
        return point

    async def find(self, backup_id: str, store_id: str) -> BackupReport | None:
        """What is told of a backup that the store has already."""
        async with self.stores.opened(store_id) as repository:
            try:
                return _report(await repository.backup(backup_id))
            except NotFound:
                return None

    async def store(self, point: BackupPoint, progress: Progress) -> BackupReport:
        """Store what was kept. May be repeated: what the store has already is not sent again.

        Raises what the store and the disk raise. What was kept stays then, and so does what was stored of it.
        """
        if point.id in self._at_work:
            raise Conflict("This backup is being made", why="Another call makes it", code="backup-in-progress")
        self._at_work.add(point.id)
        try:
            async with self.stores.opened(point.store_id) as repository:
                base = await self._base(repository, point)
                report = _report(await self._write(repository, point, base, progress))
            await asyncio.to_thread(self.points.stored, point)
        finally:
            self._at_work.discard(point.id)
            if not self._tools.is_kept(point.spec.id):  # it was deleted meanwhile
                await asyncio.shield(asyncio.to_thread(self.points.remove, [point.id]))
            await asyncio.shield(self._tools.copying.layers.clean())
        _log.info("backup made", instance_id=point.spec.id, backup_id=point.id, added_bytes=report.added_bytes)
        return report

    async def forget_instance(self, instance_id: str) -> None:
        """It is deleted: nothing is kept of its disk but what is being stored just now. May be repeated."""
        await self.drop([point.id for point in self.points.of(instance_id) if point.id not in self._at_work])

    async def forget_store(self, store_id: str) -> None:
        """Forget how a store is opened, and what was kept for backups in it. May be repeated."""
        await self.drop(self.points.in_store(store_id))
        await self.stores.forget(store_id)

    def idle(self) -> list[str]:
        """The backups for which something is kept, but for those that are being stored just now; oldest first."""
        return [backup_id for backup_id in self.points.ids() if backup_id not in self._at_work]

    async def drop(self, backup_ids: Sequence[str]) -> None:
        """Forget what was kept for them. May be repeated."""
        await asyncio.to_thread(self.points.remove, backup_ids)
        await self._tools.copying.layers.clean()

    async def _base(self, repository: Repository, point: BackupPoint) -> tuple[BackupPoint, Tree] | None:
        """What the backup can be based on: what is kept of one before it, and its disk in the store."""
        reference = self.points.reference(point)
        if reference is None:
            return None
        try:
            return reference, (await repository.backup(reference.id)).disks[DISK]
        except (NotFound, DataCorrupt, KeyError) as error:
            _log.info("all of a disk is read", backup_id=point.id, problem=str(error))
            return None

    async def _write(
        self, repository: Repository, point: BackupPoint, base: tuple[BackupPoint, Tree] | None, progress: Progress
    ) -> Backup:
        files = await asyncio.to_thread(self._files_of, point)
        async with self._tools.disks.opened(point.image.disk) as disk:
            layers = None if base is None else point.image.disks.index(base[0].image.disk)
            parts = list(extents.in_pieces(await disk.parts(layers), CHUNK_BYTES))
            read_bytes = sum(part.end - part.begin for part in parts if part.change is Change.DATA)
            reading = _Reading(disk.read, parts, read_bytes, progress)
            parent = base[1] if base is not None else None
            contents = {DISK: DiskContent(disk.size_bytes, reading.extents(), parent)}
            contents |= {name: DiskContent(path.stat().st_size, _content(path)) for name, path in files.items()}
            facts: dict[str, Any] = {
                **backup_facts.encode(point),
                _KEY: {
                    "consistency": point.consistency,
                    "size_bytes": disk.size_bytes,
                    "read_bytes": read_bytes,
                    "paused_ms": point.paused_ms,
                    "frozen_ms": point.frozen_ms,
                    "based_on": base[0].id if base is not None else "",
                },
            }
            return await repository.write(point.id, contents, facts)

    def _files_of(self, point: BackupPoint) -> Mapping[str, Path]:
        files = backup_facts.files_of(point.image)
        nvram = self.points.nvram_of(point.id)
        return files | ({NVRAM: nvram} if nvram.exists() else {})

    # What is in a store

    async def list(self, store_id: str) -> list[StoredBackup]:
        """All backups of a store, oldest first."""
        async with self.stores.opened(store_id) as repository:
            found, damaged = await repository.backups()
            notes = await repository.notes()
            told = [_told(backup, notes.get(backup.id, ())) for backup in found]
        return [*told, *(StoredBackup(name, now_utc(), None, problem=str(why)) for name, why in damaged.items())]

    async def remove(self, store_id: str, backup_ids: Sequence[str]) -> None:
        """Remove backups from a store; the space comes back with a prune. May be repeated."""
        async with self.stores.opened(store_id) as repository:
            await repository.forget(backup_ids)
        await self.drop(backup_ids)

    async def prune(self, store_id: str) -> int:
        """The bytes that were freed. Raises Conflict while others write."""
        async with self.stores.opened(store_id) as repository:
            return (await repository.prune()).freed_bytes

    async def repair(self, store_id: str) -> int:
        """Count on what is whole only; how many pieces are lost. The next backup of each instance reads all of its
        disk, and stores again what is lost of it, which mends older backups as well.

        Raises Conflict while others write.
        """
        async with self.stores.opened(store_id) as repository:
            repaired = await repository.repair()
        references = [backup_id for backup_id in self.points.in_store(store_id) if self.points.is_stored(backup_id)]
        await self.drop([backup_id for backup_id in references if backup_id not in self._at_work])
        return repaired.lost_chunks

    async def check(self, store_id: str, read_data: bool) -> StoreFindings:
        """Look whether all is there that backups need; with `read_data`, whether it is what was written."""
        async with self.stores.opened(store_id) as repository:
            found = await repository.check(read_data=read_data)
        return StoreFindings(
            tuple(DamagedObject(each.name, each.why) for each in found.objects),
            (
                *(DamagedBackup(each.backup, each.disk, each.ranges) for each in found.disks),
                *(DamagedBackup(name, "", why=why) for name, why in found.lost_backups.items()),
            ),
            found.checked_packs,
            found.checked_bytes,
        )

    async def note(self, store_id: str, backup_id: str, drill: Drill) -> None:
        """Keep a drill's result with the backup."""
        async with self.stores.opened(store_id) as repository:
            await repository.note(backup_id, backup_facts.note_of(drill))


def _told(backup: Backup, notes: Sequence[Mapping[str, Any]]) -> StoredBackup:
    drills = [backup_facts.drill_of(note) for note in notes]
    try:
        facts = backup_facts.decode(backup.facts)
    except InsulaError as error:
        return StoredBackup(backup.id, backup.made_at, None, problem=str(error))
    return StoredBackup(
        backup.id,
        backup.made_at,
        facts.spec,
        facts.consistency,
        backup.disks[DISK].size_bytes if DISK in backup.disks else 0,
        backup.added_bytes,
        tuple(drill for drill in drills if drill is not None),
    )


class _Reading:
    """The changed parts of a disk as they are read, and how far it has come."""

    def __init__(
        self, read: Callable[[int, int], Awaitable[bytes]], parts: Sequence[Part], total_bytes: int, progress: Progress
    ) -> None:
        self._read = read
        self._parts = parts
        self._total_bytes = total_bytes
        self._progress = progress
        self._done_bytes, self._told = 0, -1

    async def extents(self) -> AsyncIterator[Extent]:
        for part in self._parts:
            if part.change is Change.ZERO:
                yield Extent(part.begin, part.end - part.begin)
                continue
            for begin in range(part.begin, part.end, _READ_BYTES):
                length = min(_READ_BYTES, part.end - begin)
                yield Extent(begin, length, await self._read(begin, length))
                self._tell(length)

    def _tell(self, length: int) -> None:
        self._done_bytes += length
        percent = self._done_bytes * 100 // self._total_bytes
        if percent > self._told:
            self._told = percent
            self._progress(f"{self._done_bytes >> 20} of {self._total_bytes >> 20} MiB read", percent)


async def _content(path: Path) -> AsyncIterator[Extent]:
    """A file as a disk without a map."""
    descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = 0
        while data := await asyncio.to_thread(os.pread, descriptor, _READ_BYTES, offset):
            yield Extent(offset, len(data), data)
            offset += len(data)
    finally:
        os.close(descriptor)


def _report(backup: Backup) -> BackupReport:
    told = {**backup.facts.get(_KEY, {}), "added_bytes": backup.added_bytes}
    try:
        return msgspec.convert(told, BackupReport)
    except msgspec.ValidationError as error:
        raise DataCorrupt(
            f"Backup {backup.id} does not say how it was made", why=str(error), code="backup-damaged"
        ) from error


def _check_in_step(owner: Owner) -> None:
    record = owner.record
    name = record.spec.name
    if record.image is None:
        raise Conflict(f"{name} has no disk yet", why="It is being made", code="instance-not-ready")
    if record.point or record.saved is not None:
        raise Conflict(
            f"No backup of {name} can be made now",
            why="It is to go on from memory that its disk alone is not in step with",
            todo=f"Wake it first: `insula start {name}`",
            code="instance-hibernated",
        )
    if owner.machine is None:
        owner.require_off("no backup of it can be made")

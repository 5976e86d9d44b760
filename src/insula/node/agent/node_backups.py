"""The part of a node that has to do with backups: stores, backups in them, and what is made of those again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from insula.base.errors import NotFound
from insula.domain.backup import Drill
from insula.node.agent.backup_files import BackupFiles
from insula.node.agent.backups import Backups
from insula.node.agent.node_images import NodeImages
from insula.node.agent.restores import Restores
from insula.protocol.backups import (
    BackupReport,
    DiskSource,
    FileEntry,
    StoreFindings,
    StoreOpened,
    StoreSecret,
    StoreSpec,
)
from insula.protocol.node import InstanceSpec, Progress, StoredBackup, VolumeSpec


class NodeBackups(NodeImages):
    """A part of NodeApi; the node itself brings what is declared here."""

    _backups: Backups
    _restores: Restores
    _backup_files: BackupFiles

    async def open_store(self, spec: StoreSpec, secret: StoreSecret) -> StoreOpened:
        return await self._backups.stores.open(spec, secret)

    async def forget_store(self, store_id: str) -> None:
        await self._backups.forget_store(store_id)

    async def store_key(self, store_id: str) -> str:
        return await self._backups.stores.key(store_id)

    async def stored_backups(self, store_id: str) -> Sequence[StoredBackup]:
        return await self._backups.list(store_id)

    async def make_backup(self, instance_id: str, backup_id: str, store_id: str, progress: Progress) -> BackupReport:
        if self._backups.points.find(backup_id) is None:
            if (made := await self._backups.find(backup_id, store_id)) is not None:
                return made
            async with self._held(instance_id) as keeper:
                await self._backups.freeze(keeper, backup_id, store_id)
        point = self._backups.points.find(backup_id)
        if point is None:
            raise NotFound(f"Backup {backup_id} was just removed", why="Another command removed it")
        if point.is_stored and (made := await self._backups.find(backup_id, store_id)) is not None:
            return made
        return await self._backups.store(point, progress)

    async def abandon_backup(self, backup_id: str) -> None:
        await self._backups.drop([backup_id])

    async def remove_backups(self, store_id: str, backup_ids: Sequence[str]) -> None:
        await self._backups.remove(store_id, backup_ids)

    async def prune_store(self, store_id: str) -> int:
        return await self._backups.prune(store_id)

    async def repair_store(self, store_id: str) -> int:
        return await self._backups.repair(store_id)

    async def check_store(self, store_id: str, read_data: bool) -> StoreFindings:
        return await self._backups.check(store_id, read_data)

    async def make_disk_from_backup(
        self, spec: InstanceSpec, store_id: str, backup_id: str, progress: Progress
    ) -> None:
        async with self._held(spec.id, spec) as keeper:
            await self._restores.make_disk(keeper, store_id, backup_id, progress)

    async def make_volume_from_backup(
        self, spec: VolumeSpec, source: DiskSource, progress: Progress
    ) -> Sequence[tuple[int, int]]:
        # The record first: a disk without one would belong to nobody after a crash.
        await asyncio.to_thread(self._volumes.store.save, spec)
        return await self._restores.make_volume(spec, self._volumes.store.disk_of(spec.id), source, progress)

    async def backup_files(self, store_id: str, backup_id: str, path: str) -> Sequence[FileEntry]:
        return await self._backup_files.list(store_id, backup_id, path)

    async def read_backup_file(self, store_id: str, backup_id: str, path: str) -> AsyncIterator[bytes]:
        return await self._backup_files.read(store_id, backup_id, path)

    async def note_drill(self, store_id: str, backup_id: str, drill: Drill) -> None:
        await self._backups.note(store_id, backup_id, drill)

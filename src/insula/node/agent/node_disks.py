"""The part of a node that changes what a machine has while it may be running, and that keeps what a disk was."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from insula.node.agent import disk_use, disks
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.parts import NodeParts
from insula.node.agent.records import Records
from insula.node.agent.snapshots import Snapshots
from insula.node.agent.templates import Templates
from insula.node.agent.volumes import Volumes
from insula.protocol.node import DiskUse, GrowReport, InstanceSpec, SnapshotReport, VolumeSpec


class NodeDisks:
    """A part of NodeApi; the node itself brings what is declared here."""

    _parts: NodeParts
    _records: Records
    _volumes: Volumes
    _snapshots: Snapshots
    _templates: Templates

    def _held(self, instance_id: str, spec: InstanceSpec | None = None) -> AbstractAsyncContextManager[InstanceKeeper]:
        raise NotImplementedError

    async def disk_use(self) -> DiskUse:
        kept = [self._parts.folder / "forks", self._parts.folder / "snapshots"]
        return await asyncio.to_thread(disk_use.measure, self._records.folder, kept, self._volumes.store)

    async def limit(self, spec: InstanceSpec) -> None:
        async with self._held(spec.id, spec) as keeper:
            await keeper.change(spec=spec)
            await keeper.apply_limits()

    async def grow_disk(self, instance_id: str, disk_gib: int) -> GrowReport:
        async with self._held(instance_id) as keeper:
            folder = self._records.folder_of(instance_id)
            return await disks.grow(keeper, disk_gib, self._parts.disks, folder)

    async def make_volume(self, spec: VolumeSpec) -> None:
        await self._volumes.make(spec)

    async def remove_volume(self, volume_id: str) -> None:
        await self._volumes.remove(volume_id)

    async def attach_volume(self, volume_id: str, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await self._volumes.attach(keeper, volume_id)

    async def detach_volume(self, volume_id: str, instance_id: str, force: bool) -> None:
        holder = self._volumes.holder(volume_id)
        if holder is None:
            await self._volumes.take_back(volume_id)
        elif instance_id in {"", holder.record.spec.id}:
            async with self._held(holder.record.spec.id) as keeper:
                await self._volumes.detach(keeper, volume_id, force)

    async def grow_volume(self, volume_id: str, size_gib: int) -> GrowReport:
        return await self._volumes.grow(volume_id, size_gib)

    async def limit_volume(self, spec: VolumeSpec) -> None:
        await self._volumes.limit(spec)

    async def take_snapshot(self, instance_id: str, snapshot_id: str, with_memory: bool) -> SnapshotReport:
        async with self._held(instance_id) as keeper:
            if with_memory:
                await self._templates.make_room(keeper.record.spec.resources)
            return await self._snapshots.take(keeper, snapshot_id, with_memory)

    async def check_snapshot(self, spec: InstanceSpec, snapshot_id: str, with_memory: bool) -> None:
        await self._snapshots.check(spec, snapshot_id, with_memory)

    async def remove_snapshot(self, snapshot_id: str) -> None:
        await self._snapshots.remove(snapshot_id)

    async def make_disk_from_snapshot(self, spec: InstanceSpec, snapshot_id: str, with_memory: bool) -> None:
        async with self._held(spec.id, spec) as keeper:
            await self._snapshots.make_disk(keeper, snapshot_id, with_memory)

"""The part of a node that changes what a machine has while it may be running: its disk, its limits, its volumes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from insula.node.agent import disk_use, disks
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.parts import NodeParts
from insula.node.agent.records import Records
from insula.node.agent.volumes import Volumes
from insula.protocol.node import DiskUse, GrowReport, InstanceSpec, VolumeSpec


class NodeDisks:
    """A part of NodeApi; the node itself brings what is declared here."""

    _parts: NodeParts
    _records: Records
    _volumes: Volumes

    def _held(self, instance_id: str, spec: InstanceSpec | None = None) -> AbstractAsyncContextManager[InstanceKeeper]:
        raise NotImplementedError

    async def disk_use(self) -> DiskUse:
        forks = self._parts.folder / "forks"
        return await asyncio.to_thread(disk_use.measure, self._records.folder, forks, self._volumes.store)

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

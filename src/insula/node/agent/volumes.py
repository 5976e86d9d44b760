"""The volumes of a node and the instances that have them.

An instance's record names its volumes, each with its place on the machine's controller, before the machine gets them
and until after it has let go of them. So whatever is killed in between, the next machine has what the record says, and
repeating the command goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from insula.base.errors import Conflict, InsulaError, Unsupported
from insula.base.log import get_logger
from insula.node.agent import guest_disks, refusals
from insula.node.agent.background import to_its_end
from insula.node.agent.guest import GuestAgent
from insula.node.agent.launch import machine_volume
from insula.node.agent.records import AttachedVolume, InstanceRecord
from insula.node.hypervisor.driver import CanAttachVolumes, Machine, MachineVolume
from insula.node.storage.backend import DiskBackend
from insula.node.storage.volumes import VolumeStore
from insula.protocol.node import GrowReport, Power, VolumeSpec

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance that has volumes; its lock is held by whoever changes them."""

    record: InstanceRecord
    lock: asyncio.Lock
    agent: GuestAgent

    @property
    def power(self) -> Power: ...
    @property
    def has_agent(self) -> bool: ...
    @property
    def machine(self) -> Machine | None: ...
    def require_machine(self) -> Machine: ...  # Conflict when there is none
    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it


class Volumes:
    """Makes, attaches, detaches, grows, limits and removes them. `owners` are all instances of the node."""

    def __init__(self, store: VolumeStore, disks: DiskBackend, owners: Callable[[], Iterable[Owner]]) -> None:
        self.store = store
        self._disks = disks
        self._owners = owners

    async def make(self, spec: VolumeSpec) -> None:
        """Make its disk; one that is there is left alone. Raises what the storage raises."""
        if (disk := self.store.disk_of(spec.id)).exists():
            return
        # The record first: a disk without one would belong to nobody after a crash.
        await asyncio.to_thread(self.store.save, spec)
        await self._disks.blank(disk, spec.size_gib, spec.file_system, spec.name)

    async def remove(self, volume_id: str) -> None:
        """Remove it with all that is on it. May be repeated. Raises Conflict while an instance has it."""
        holder = self.holder(volume_id)
        if holder is not None:
            raise _held(volume_id, holder)
        await asyncio.to_thread(self.store.remove, volume_id)

    def holder(self, volume_id: str) -> Owner | None:
        """The instance that has it."""
        return next((owner for owner in self._owners() if owner.record.volume(volume_id) is not None), None)

    async def attach(self, owner: Owner, volume_id: str) -> None:
        """Give it to an instance, whose machine gets it at once. Raises Conflict when another one has it."""
        holder = self.holder(volume_id)
        if holder is not None and holder is not owner:
            raise _held(volume_id, holder)
        _check_awake(owner)
        machine = _pluggable(owner) if owner.machine is not None else None
        attached = owner.record.volume(volume_id) or await self._give(owner, volume_id)
        if machine is not None:
            await machine.attach_volume(await self._described(attached))

    async def _give(self, owner: Owner, volume_id: str) -> AttachedVolume:
        """Write it into the instance's record, and let the instance's user have it."""
        if owner.record.point:  # its first start goes on from memory that knows of no volumes
            raise refusals.is_renewing(owner.record.spec.name)
        attached = AttachedVolume(volume_id, _free_slot(owner.record))
        await asyncio.to_thread(self.store.load, volume_id)
        # Whoever had it before may have written what he liked into its header.
        await self._disks.check_alone(self.store.disk_of(volume_id))
        await to_its_end(self.store.lend, volume_id, owner.record.uid)
        # A template's guest knows of no volumes either: if that was to be its first start, it is a boot instead.
        await owner.change(volumes=(*owner.record.volumes, attached), template="")
        return attached

    async def detach(self, owner: Owner, volume_id: str, force: bool) -> None:
        """Take it from an instance. Raises Conflict while its guest uses it, unless it is forced. May be repeated."""
        if owner.record.volume(volume_id) is not None:
            _check_awake(owner)
            if owner.machine is not None:
                machine = _pluggable(owner)
                await self._ask_guest(owner, volume_id, force)
                await machine.detach_volume(volume_id)
            left = tuple(each for each in owner.record.volumes if each.id != volume_id)
            await owner.change(volumes=left)
        await self.take_back(volume_id)

    async def take_back(self, volume_id: str) -> None:
        """No instance has it any more. May be repeated."""
        await to_its_end(self.store.take_back, volume_id)

    async def release(self, uid: int | None, volumes: Iterable[AttachedVolume] = ()) -> None:
        """An instance goes, and its machine has ended: its volumes are nobody's. May be repeated.

        What its user was lent goes back as well, since its record may have been lost.
        """
        for volume_id in {*(each.id for each in volumes), *await asyncio.to_thread(self.store.lent_to, uid)}:
            await self.take_back(volume_id)

    async def grow(self, volume_id: str, size_gib: int) -> GrowReport:
        """Make it larger, for a guest that has it as well. May be repeated. Raises Conflict when it would shrink."""
        spec = await asyncio.to_thread(self.store.load, volume_id)
        async with self._held(volume_id) as owner:
            report = await self._grow_held(owner, spec, size_gib)
            await asyncio.to_thread(self.store.save, replace(spec, size_gib=size_gib))
        return report

    async def limit(self, spec: VolumeSpec) -> None:
        """Give it other limits, at once. May be repeated."""
        known = await asyncio.to_thread(self.store.load, spec.id)
        new = replace(known, disk_iops=spec.disk_iops, disk_mbps=spec.disk_mbps)
        async with self._held(spec.id) as owner:
            await asyncio.to_thread(self.store.save, new)
            if owner is None or owner.machine is None:
                return
            if (attached := owner.record.volume(spec.id)) is not None:
                await _pluggable(owner).limit_volume(await self._described(attached))

    async def settle(self, owner: Owner, machine: object) -> None:
        """A machine was found running: it gets what its record says and a killed service did not give it any more."""
        if not isinstance(machine, CanAttachVolumes):
            return
        for attached in owner.record.volumes:
            try:
                await machine.attach_volume(await self._described(attached))
            except InsulaError as error:
                _log.error("a volume is not attached", instance_id=owner.record.spec.id, problem=str(error))

    @contextlib.asynccontextmanager
    async def _held(self, volume_id: str) -> AsyncIterator[Owner | None]:
        """The instance that has it, under its lock, or None."""
        owner = self.holder(volume_id)
        if owner is None:
            yield None
            return
        async with owner.lock:
            yield owner if owner.record.volume(volume_id) is not None else None

    async def _grow_held(self, owner: Owner | None, spec: VolumeSpec, size_gib: int) -> GrowReport:
        if owner is not None:
            _check_awake(owner)
        if owner is None or owner.machine is None:
            await self._disks.grow(self.store.disk_of(spec.id), size_gib)
            return guest_disks.OFF
        await _pluggable(owner).grow_volume(spec.id, size_gib)
        return await seen_by_guest(owner, spec.id, size_gib)

    async def _ask_guest(self, owner: Owner, volume_id: str, force: bool) -> None:
        if not owner.has_agent:
            return
        try:
            if owner.power is Power.PAUSED:
                raise refusals.stands_still(owner.record.spec.name)
            spec = await asyncio.to_thread(self.store.load, volume_id)
            await guest_disks.check_unused(owner.agent, volume_id, spec.name, owner.record.spec.name)
        except InsulaError:
            if not force:
                raise

    async def _described(self, attached: AttachedVolume) -> MachineVolume:
        return await asyncio.to_thread(machine_volume, self.store, attached)


async def seen_by_guest(owner: Owner, serial: str, size_gib: int) -> GrowReport:
    """What the guest of a machine whose disk has just grown makes of it."""
    if not owner.has_agent:
        return guest_disks.NO_AGENT
    return await guest_disks.grow_file_systems(owner.agent, serial, size_gib)


def _pluggable(owner: Owner) -> CanAttachVolumes:
    machine: object = owner.require_machine()
    if not isinstance(machine, CanAttachVolumes):
        raise Unsupported(
            f"{owner.record.spec.name} cannot get volumes while it runs",
            why="Its driver's machines have no place for them",
            todo=f"Stop it first: `insula stop {owner.record.spec.name}`",
            code="no-volumes",
        )
    return machine


def _check_awake(owner: Owner) -> None:
    if owner.machine is None and owner.record.saved is not None:
        raise refusals.is_asleep(owner.record.spec.name)


def _free_slot(record: InstanceRecord) -> int:
    taken = {each.slot for each in record.volumes}
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def _held(volume_id: str, holder: Owner) -> Conflict:
    name = holder.record.spec.name
    return Conflict(
        f"The volume {volume_id} is attached to {name}",
        why="One instance at a time can have it",
        todo="Detach it first: `insula volume detach`",
        code="volume-attached",
    )

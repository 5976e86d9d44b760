"""Forks: an instance's present state, from which children go on while it goes on itself.

A fork point is memory, devices and disk of one instant. Its memory is in this process only: it serves the children of
one operation, and when the service ends before they are there, they come to nothing. Its disk is a layer (see layers).
A snapshot with memory is the same on disk; a new instance that goes on from one is a child as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from insula.base.errors import Conflict, Unsupported
from insula.base.log import get_logger
from insula.domain.capacity import Share
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Firmware, MachineType
from insula.node.agent import refusals
from insula.node.agent.background import Background
from insula.node.agent.first_start import become
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import mend_clock
from insula.node.agent.launch import Frozen, Launcher, firmware_of, machine_type_of
from insula.node.agent.layers import Layers
from insula.node.agent.platforms import needs_seed
from insula.node.agent.records import InstanceRecord, Records
from insula.node.agent.snapshot_store import SnapshotMemories
from insula.node.hypervisor.driver import (
    CanCutNetwork,
    CanFork,
    CanPause,
    ForkFiles,
    GuestMemory,
    Machine,
)
from insula.node.runtime import shared_memory
from insula.node.storage.backend import BootableImage, DiskBackend, SeedContents
from insula.node.storage.fork_point import DEVICES_FILE
from insula.protocol.node import Power

_ANSWER_S = 60.0  # its programs may take all of a small plan's processor, and nothing else will do instead

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance that is forked, or made as a child; its lock is held."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def power(self) -> Power: ...
    @property
    def has_agent(self) -> bool: ...
    def require_machine(self) -> Machine: ...  # Conflict when there is none
    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...


@dataclass(frozen=True)
class ForkPoint:
    """`image` is what children's disks are made from, `parent_id` the instance that was forked."""

    parent_id: str
    image: BootableImage
    devices: Path
    memory: int
    paused_ms: int


@dataclass(frozen=True)
class ForkTools:
    """What forking needs of the node."""

    layers: Layers
    records: Records
    launcher: Launcher
    disks: DiskBackend
    background: Background
    snapshots: SnapshotMemories


class Forks:
    """Takes fork points, makes children from them, and removes what nobody needs any more."""

    def __init__(self, tools: ForkTools) -> None:
        self._tools = tools
        self._layers = tools.layers
        self._records = tools.records
        self._points: dict[str, ForkPoint] = {}
        self._making: dict[str, int] = {}  # point → MiB that its memory may come to

    @property
    def share(self) -> Share:
        """What the fork points take of the host until their children are there."""
        taken_bytes = sum(shared_memory.taken_bytes(found.memory) for found in self._points.values())
        return Share((taken_bytes >> 20) + sum(self._making.values()))

    @property
    def disks(self) -> frozenset[Path]:
        """The files that children's disks would be based on."""
        return frozenset(disk for found in self._points.values() for disk in found.image.disks)

    async def take(self, owner: Owner, point: str, keeps_identity: bool) -> int:
        """Make a fork point; returns the milliseconds that the guest stood still. One that is there is left as it is.

        Raises Unsupported for what cannot be forked, Conflict, and what the driver raises: the instance goes on then.
        """
        if point not in self._points:
            machine = forkable(owner)
            _check(owner.record, keeps_identity)
            await self._layers.merge(owner, machine)
            self._making[point] = owner.record.spec.resources.memory_mib
            try:
                copy = await split_off(self._layers, owner, machine, self._tools.background)
            finally:
                del self._making[point]
            self._layers.with_devices.add(copy.devices.parent)
            self._points[point] = ForkPoint(owner.record.spec.id, copy.image, copy.devices, copy.memory, copy.paused_ms)
        return self._points[point].paused_ms

    async def make_child(self, owner: Owner, point: str, keeps_identity: bool) -> None:
        """Disk and seed of a child, which goes on from the fork point at its first start. May be repeated until then.

        Raises Conflict when the fork point is gone.
        """
        spec, folder = owner.record.spec, self._records.folder_of(owner.record.spec.id)
        if owner.record.image is not None and not owner.record.point:
            return  # it lives
        found = self._find(point, spec.name)
        # The record first: a disk without one would belong to nobody after a crash.
        await owner.change(image=found.image, point=point, is_cut=keeps_identity, is_renewing=False)
        seed = self._records.folder_of(found.parent_id) / "seed.iso"
        if keeps_identity:
            if seed.exists():
                await asyncio.to_thread(shutil.copyfile, seed, folder / "seed.iso")
        elif needs_seed(spec, found.image):
            contents = SeedContents(spec.id, spec.hostname, spec.ssh_keys)
            await self._tools.disks.make_seed(folder / "seed.iso", contents, owner.record.uid)
        await self._tools.disks.layer(found.image.disk, folder / "disk.qcow2", owner.record.uid)
        owner.publish()

    async def start(self, owner: Owner) -> Machine:
        """Start a child's machine, whose guest stands still and is another's until :meth:`go_on`.

        Raises InsulaError when that fails; no machine is left then, and the child is good for nothing.
        """
        record = owner.record
        if record.is_renewing:  # its disk may have changed since, and the memory must never meet that
            raise _gone(record.spec.name)
        async with self._frozen(record) as frozen:
            await owner.change(is_renewing=True)
            return await self._tools.launcher.start(record, frozen)

    @contextlib.asynccontextmanager
    async def _frozen(self, record: InstanceRecord) -> AsyncIterator[Frozen]:
        if is_id(record.point, Kind.SNAPSHOT):
            async with self._tools.snapshots.lent(record.point) as frozen:
                yield frozen
        else:
            found = self._find(record.point, record.spec.name)
            yield Frozen(GuestMemory(found.memory, True), found.devices)

    async def go_on(self, machine: Machine, owner: Owner) -> None:
        """Let a child's guest go on and become itself, or stay cut off. Raises InsulaError when it does not."""
        if not isinstance(machine, CanPause) or not isinstance(machine, CanCutNetwork):
            raise Unsupported("This driver's machines cannot go on from a fork", code="no-fork")
        await machine.set_link(False)
        if owner.record.is_cut:
            await machine.resume()
        else:
            await become(machine, owner.agent, owner.record.spec, _ANSWER_S)

    async def drop(self, point: str) -> None:
        """Let go of a fork point's memory; children that go on from it keep theirs. May be repeated."""
        found = self._points.pop(point, None)
        if found is not None:
            os.close(found.memory)
            self._layers.with_devices.discard(found.devices.parent)
        await self._layers.clean()

    def close(self) -> None:
        for found in self._points.values():
            os.close(found.memory)
        self._points.clear()

    def _find(self, point: str, name: str) -> ForkPoint:
        found = self._points.get(point)
        if found is None:
            raise _gone(name)
        return found


@dataclass(frozen=True)
class GuestCopy:
    """Memory (sealed; whoever has this closes it), devices and disk of one instant."""

    image: BootableImage
    devices: Path
    memory: int
    paused_ms: int


async def split_off(
    layers: Layers, owner: Owner, machine: CanFork, background: Background, devices: Path | None = None
) -> GuestCopy:
    """Write a guest's memory and devices down and put a layer over its disk, all at one instant; it goes on.

    `devices` is the file to make, beside what the disk was unless it is given.
    """
    spec = owner.record.spec
    memory = shared_memory.make("fork", spec.resources.memory_mib << 20)
    is_on = owner.power is Power.ON
    try:
        async with layers.added(owner, machine) as layer:
            devices = devices or layer.folder / DEVICES_FILE
            paused_ms = await machine.fork(ForkFiles(layer.name, layer.disk, devices, memory))
            shared_memory.seal(memory)
    except BaseException:
        os.close(memory)
        raise
    if is_on and layer.image.image.has_agent:
        background.spawn(mend_clock(owner.agent), f"clock of {spec.name}")
    _log.info("instance forked", instance_id=spec.id, paused_ms=paused_ms)
    return GuestCopy(layer.image, devices, memory, paused_ms)


def forkable(owner: Owner) -> CanFork:
    machine: object = owner.require_machine()
    name = owner.record.spec.name
    if not isinstance(machine, CanFork):
        raise _cannot_be_forked(name, "This driver's machines cannot be forked")
    if owner.power not in {Power.ON, Power.PAUSED}:
        raise Conflict(
            f"{name} is still booting",
            why="What goes on from a boot that is not over would be no use to anybody",
            todo=f"Wait until it is ready: `insula show {name}`",
            code="instance-booting",
        )
    return machine


def check_kind(record: InstanceRecord) -> None:
    """Raise Unsupported if no guest's memory of its kind can be kept beside its disk."""
    spec, image = record.spec, record.image
    assert image is not None  # noqa: S101 - its machine runs
    if len(spec.nics) > 1:
        raise refusals.has_cards(spec.name)
    machine_type, firmware = machine_type_of(spec.machine_type, image), firmware_of(spec.firmware, image)
    if (machine_type, firmware) != (MachineType.Q35, Firmware.BIOS):
        raise Unsupported(
            f"The memory of {spec.name} cannot be kept",
            why=f"It is a {machine_type} machine with {firmware}; forks and snapshots with memory need q35 with bios",
            todo="Make a snapshot of its disk, and create another instance from that",
            code="no-fork",
        )


def check_renewable(image: BootableImage, name: str) -> None:
    """Raise Unsupported if a guest of the image that goes on from memory cannot become somebody else."""
    if not ("random" in image.renew and image.image.has_agent):
        raise Unsupported(
            f"{name} cannot go on as somebody else",
            why=f"Guests of {image.name} have no program that gives them new keys, random numbers and addresses",
            todo="Fork it with --identity keep, for a child without a network; start a snapshot's with --cold",
            code="no-fork-renewal",
        )


def _check(record: InstanceRecord, keeps_identity: bool) -> None:
    """Raise Unsupported if it cannot be forked."""
    check_kind(record)
    if record.volumes:
        raise _cannot_be_forked(record.spec.name, "It has volumes, and a child's guest would write to the same ones")
    if record.is_cut:
        raise _cannot_be_forked(
            record.spec.name,
            "It is a fork that kept another's identity and has no network; fork the instance it came from",
        )
    if not keeps_identity and record.image is not None:
        check_renewable(record.image, record.spec.name)


def _cannot_be_forked(name: str, why: str) -> Unsupported:
    return Unsupported(f"{name} cannot be forked", why=why, todo="Create another instance instead", code="no-fork")


def _gone(name: str) -> Conflict:
    return Conflict(
        f"What {name} was to go on from is gone",
        why="The service ended before all children of the fork were there",
        todo=f"Delete {name} and fork again",
        code="fork-gone",
    )

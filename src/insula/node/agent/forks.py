"""Forks: an instance's present state, from which children go on while it goes on itself.

A fork point is memory, devices and disk of one instant. Its memory is in this process only: it serves the children of
one operation, and when the service ends before they are there, they come to nothing. Its disk stays as long as the
instance or a child has a layer over it.

The instance's record names the new layer before the guest writes to it. Until then the layer has no content and hides
nothing, so whatever is killed in between, the instance finds its disk as it was left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InsulaError, Unsupported
from insula.base.log import get_logger
from insula.domain.capacity import Share
from insula.domain.image import Provisioning
from insula.domain.instance import Firmware, MachineType
from insula.node.agent.background import Background
from insula.node.agent.first_start import become
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import mend_clock
from insula.node.agent.launch import Frozen, Launcher, firmware_of, machine_type_of
from insula.node.agent.records import Forking, InstanceRecord, Records
from insula.node.hypervisor.driver import (
    CanCutNetwork,
    CanFork,
    CanPause,
    ForkFiles,
    GuestMemory,
    Machine,
)
from insula.node.runtime import shared_memory
from insula.node.runtime.uids import UidRange
from insula.node.storage.atomic import sync_file
from insula.node.storage.backend import BootableImage, DiskBackend, SeedContents
from insula.node.storage.fork_point import DEVICES_FILE, DISK_FILE, ForkFacts, begin, share
from insula.protocol.node import Power

_ANSWER_S = 60.0  # its programs may take all of a small plan's processor, and nothing else will do instead
_MERGE_AT = 8  # layers of forks, each of which is a file that every read may have to look into

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance that is forked, or made as a child; its lock is held."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def power(self) -> Power: ...
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
    """What forking needs of the node; `folder` holds the fork points."""

    folder: Path
    records: Records
    launcher: Launcher
    disks: DiskBackend
    background: Background
    uids: UidRange | None = None


class Forks:
    """Takes fork points, makes children from them, and removes what nobody needs any more.

    `disks_in_use` are all files that disks of instances are based on, as far as is known: not of `damaged` ones.
    """

    def __init__(self, tools: ForkTools, disks_in_use: Callable[[], frozenset[Path]], damaged: Collection[str]) -> None:
        self._folder = tools.folder
        self._tools = tools
        self._records = tools.records
        self._disks_in_use = disks_in_use
        self._damaged = damaged
        self._points: dict[str, ForkPoint] = {}
        self._making: dict[Path, int] = {}  # folder → MiB that its memory may come to

    @property
    def share(self) -> Share:
        """What the fork points take of the host until their children are there."""
        taken_bytes = sum(shared_memory.taken_bytes(found.memory) for found in self._points.values())
        return Share((taken_bytes >> 20) + sum(self._making.values()))

    async def take(self, owner: Owner, point: str, keeps_identity: bool) -> int:
        """Make a fork point; returns the milliseconds that the guest stood still. One that is there is left as it is.

        Raises Unsupported for what cannot be forked, Conflict, and what the driver raises: the instance goes on then.
        """
        if point not in self._points:
            machine = _forkable(owner)
            _check(owner.record, keeps_identity)
            image = await self._with_few_layers(owner, machine)
            folder = self._folder / secrets.token_hex(8)
            self._making[folder] = owner.record.spec.resources.memory_mib
            try:
                self._points[point] = await self._take_in(folder, owner, machine, image)
            finally:
                del self._making[folder]
                if point not in self._points:
                    await asyncio.shield(self._undo(owner, machine))
        return self._points[point].paused_ms

    async def _with_few_layers(self, owner: Owner, machine: CanFork) -> BootableImage:
        """What it is based on, once what earlier forks left in between has been merged if it had become much."""
        record, image = owner.record, owner.record.image
        assert image is not None  # noqa: S101 - its machine runs
        between = [disk for disk in image.disks if disk.is_relative_to(self._folder)]
        if len(between) < _MERGE_AT:
            return image
        below = image.disks[image.disks.index(between[-1]) + 1 :]
        await machine.merge_layers(below[0])
        image = replace(image, disk=below[0], behind=below[1:])
        await owner.change(image=image)
        _log.info("layers of forks merged", instance_id=record.spec.id, layers=len(between))
        await self.clean()
        return image

    async def _take_in(self, folder: Path, owner: Owner, machine: CanFork, image: BootableImage) -> ForkPoint:
        spec = owner.record.spec
        based = replace(image, disk=folder / DISK_FILE, behind=image.disks)
        disk, devices = self._records.folder_of(spec.id) / "disk.qcow2", folder / DEVICES_FILE
        await asyncio.to_thread(begin, folder, ForkFacts(spec.id, now_utc()), disk)
        is_on = owner.power is Power.ON
        memory = shared_memory.make("fork", spec.resources.memory_mib << 20)
        try:
            await owner.change(forking=Forking(folder.name, is_on), image=based)
            await self._tools.disks.layer(based.disk, disk, owner.record.uid)
            await asyncio.to_thread(sync_file, based.disk)  # or the guest would stand still for it
            paused_ms = await machine.fork(ForkFiles(folder.name, disk, devices, memory))
            shared_memory.seal(memory)
            await asyncio.to_thread(self._share, folder)
            await owner.change(forking=None)
        except BaseException:
            os.close(memory)
            raise
        if is_on and image.image.has_agent:
            self._tools.background.spawn(mend_clock(owner.agent), f"clock of {spec.name}")
        _log.info("instance forked", instance_id=spec.id, paused_ms=paused_ms)
        return ForkPoint(spec.id, based, devices, memory, paused_ms)

    async def settle(self, owner: Owner, machine: object) -> None:
        """Find out where a fork has come to that nobody saw end; nothing happens when there was none. Repeatable.

        Without a machine the layer stays: it has all that was written, or nothing.
        """
        forking, image = owner.record.forking, owner.record.image
        if forking is None or image is None:
            return
        disk = self._records.folder_of(owner.record.spec.id) / "disk.qcow2"
        is_written = True
        if isinstance(machine, CanFork):
            is_written = await machine.settle_fork(forking.name, forking.is_on)
        is_layered = not await asyncio.to_thread(_is_same, disk, image.disk)
        if is_layered and not is_written:
            await asyncio.to_thread(_put_back, image.disk, disk)
            is_layered = False
        if not is_layered:
            image = replace(image, disk=image.behind[0], behind=image.behind[1:])
        await owner.change(forking=None, image=image)

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
        elif found.image.image.provisioning is not Provisioning.NONE:
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
        found = self._find(record.point, record.spec.name)
        await owner.change(is_renewing=True)
        return await self._tools.launcher.start(record, Frozen(GuestMemory(found.memory, True), found.devices))

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
        await self.clean()

    async def clean(self) -> None:
        """Remove what no disk is based on and no child will go on from."""
        if self._damaged:
            return
        living = {found.devices.parent for found in self._points.values()}
        for folder in await asyncio.to_thread(lambda: sorted(self._folder.glob("*"))):
            if folder in living or folder in self._making:
                continue
            if folder / DISK_FILE in self._disks_in_use():
                await asyncio.to_thread(_remove_devices, folder)
                await asyncio.to_thread(self._share, folder)
            else:
                await asyncio.to_thread(self._remove, folder)

    def close(self) -> None:
        for found in self._points.values():
            os.close(found.memory)
        self._points.clear()

    def _find(self, point: str, name: str) -> ForkPoint:
        found = self._points.get(point)
        if found is None:
            raise _gone(name)
        return found

    async def _undo(self, owner: Owner, machine: CanFork) -> None:
        try:
            await self.settle(owner, machine)
        except InsulaError as error:  # it has ended meanwhile
            _log.warning("a fork is settled without its machine", error=str(error))
            await self.settle(owner, None)
        with contextlib.suppress(OSError):  # the next look takes what is left
            await self.clean()

    def _share(self, folder: Path) -> None:
        share(folder, self._tools.uids.claim(folder) if self._tools.uids is not None else None)

    def _remove(self, folder: Path) -> None:
        shutil.rmtree(folder)
        if self._tools.uids is not None:
            self._tools.uids.release(folder)


def _forkable(owner: Owner) -> CanFork:
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


def _check(record: InstanceRecord, keeps_identity: bool) -> None:
    """Raise Unsupported if it cannot be forked."""
    spec, image = record.spec, record.image
    assert image is not None  # noqa: S101 - its machine runs
    machine_type, firmware = machine_type_of(spec.machine_type, image), firmware_of(spec.firmware, image)
    if (machine_type, firmware) != (MachineType.Q35, Firmware.BIOS):
        raise _cannot_be_forked(
            spec.name, f"It is a {machine_type} machine with {firmware}; only q35 machines with bios can be forked"
        )
    if record.volumes:
        raise _cannot_be_forked(spec.name, "It has volumes, and a child's guest would write to the same ones")
    if record.is_cut:
        raise _cannot_be_forked(
            spec.name, "It is a fork that kept another's identity and has no network; fork the instance it came from"
        )
    if not keeps_identity and not ("random" in image.renew and image.image.has_agent):
        raise Unsupported(
            f"{spec.name} cannot be forked as somebody else",
            why=f"Guests of {spec.image} have no program that gives them new keys, random numbers and addresses",
            todo=f"Keep its identity, for a child without a network: `insula fork {spec.name} --identity keep`",
            code="no-fork-renewal",
        )


def _cannot_be_forked(name: str, why: str) -> Unsupported:
    return Unsupported(f"{name} cannot be forked", why=why, todo="Create another instance instead", code="no-fork")


def _gone(name: str) -> Conflict:
    return Conflict(
        f"What {name} was to go on from is gone",
        why="The service ended before all children of the fork were there",
        todo=f"Delete {name} and fork again",
        code="fork-gone",
    )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return True  # the fork had not come so far


def _put_back(base: Path, disk: Path) -> None:
    again = disk.with_name(f".{disk.name}.making")
    again.unlink(missing_ok=True)
    os.link(base, again)
    again.replace(disk)


def _remove_devices(folder: Path) -> None:
    for entry in folder.glob(f"{DEVICES_FILE}*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

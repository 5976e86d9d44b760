"""The layers of instances' disks: what a disk was up to some instant stays, and the instance writes on over it.

Forks and snapshots are made of that. A layer stays as long as a disk or a snapshot is based on it, whoever made it.

The instance's record names the new layer before the guest writes to it. Until then the layer has no content and hides
nothing, so whatever is killed in between, the instance finds its disk as it was left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from insula.base.clock import now_utc
from insula.base.errors import DiskFull, InsulaError
from insula.base.log import get_logger
from insula.node.agent.background import Background
from insula.node.agent.freezing import thaw
from insula.node.agent.guest import GuestAgent
from insula.node.agent.records import Forking, InstanceRecord, Records
from insula.node.hypervisor.driver import CanFork
from insula.node.runtime.uids import UidRange
from insula.node.storage.atomic import sync_file
from insula.node.storage.backend import BootableImage, DiskBackend
from insula.node.storage.fork_point import DEVICES_FILE, DISK_FILE, ForkFacts, begin, begin_alone, share
from insula.protocol.node import Power

# Layers, each of which is a file that every read may have to look into, which takes half a microsecond: QEMU alone read
# 60,000 times 4 KiB that the host had in memory in 0.23 s without any, 0.34 s through 8, 0.85 s through 20 of them. A
# guest's own part of such a read takes some ten microseconds. No tool follows more than 64.
_MERGE_AT, _MOST = 8, 40
_SPARE_BYTES = 1 << 30

_GOING_ON = frozenset({Power.ON, Power.BOOTING})

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance whose disk gets a layer; its lock is held."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def power(self) -> Power: ...
    @property
    def has_agent(self) -> bool: ...
    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it


@dataclass(frozen=True)
class NewLayer:
    """A layer over an instance's `disk`, without content yet. `image` is what that is based on now.

    `name` tells it from others; `folder` has what the disk was.
    """

    name: str
    folder: Path
    disk: Path
    image: BootableImage


@dataclass(frozen=True)
class LayerTools:
    """What layers need of the node; `folder` holds them."""

    folder: Path
    records: Records
    disks: DiskBackend
    background: Background
    uids: UidRange | None = None


class Layers:
    """Adds, merges and removes them.

    `disks_in_use` are all files that disks and snapshots are based on, None while some are not known.
    """

    def __init__(self, tools: LayerTools, disks_in_use: Callable[[], frozenset[Path] | None]) -> None:
        self._folder = tools.folder
        self._tools = tools
        self._records = tools.records
        self._disks_in_use = disks_in_use
        self._cleaning = asyncio.Lock()
        self._making: set[Path] = set()
        self.with_devices: set[Path] = set()  # folders with a fork's devices that somebody will go on from

    @contextlib.asynccontextmanager
    async def added(self, owner: Owner, machine: CanFork | None) -> AsyncIterator[NewLayer]:
        """Put a layer over the disk, which the caller lets the `machine` turn to; None when there is none.

        When the block raises, the disk is as before, unless the machine has turned to the layer.
        """
        folder = self._folder / secrets.token_hex(8)
        self._making.add(folder)
        try:
            async with self._added_in(folder, owner, machine) as layer:
                yield layer
        except BaseException:
            self._making.discard(folder)
            await asyncio.shield(self._undo(owner, machine))
            raise
        finally:
            self._making.discard(folder)

    @contextlib.asynccontextmanager
    async def _added_in(self, folder: Path, owner: Owner, machine: CanFork | None) -> AsyncIterator[NewLayer]:
        spec, image = owner.record.spec, owner.record.image
        assert image is not None  # noqa: S101 - it has a disk
        based = replace(image, disk=folder / DISK_FILE, behind=image.disks)
        disk = self._records.folder_of(spec.id) / "disk.qcow2"
        await asyncio.to_thread(begin, folder, ForkFacts(spec.id, now_utc()), disk)
        await owner.change(forking=Forking(folder.name, owner.power in _GOING_ON), image=based)
        await self._tools.disks.layer(based.disk, disk, owner.record.uid)
        await asyncio.to_thread(sync_file, based.disk)  # or the guest would stand still for it
        yield NewLayer(folder.name, folder, disk, based)
        await asyncio.to_thread(self._share, folder)
        await owner.change(forking=None)

    @contextlib.asynccontextmanager
    async def restored(self, instance_id: str) -> AsyncIterator[Path]:
        """The folder of a layer that is based on nothing, whose disk the block makes; it stays when it is in use then.

        When the block raises, nothing is left of it.
        """
        folder = self._folder / secrets.token_hex(8)
        self._making.add(folder)
        try:
            await asyncio.to_thread(begin_alone, folder, ForkFacts(instance_id, now_utc()))
            yield folder
            await asyncio.to_thread(self._share, folder)
        finally:
            self._making.discard(folder)
            await asyncio.shield(self.clean())

    async def merge(self, owner: Owner, machine: CanFork | None) -> None:
        """Merge what lies between a disk and what it was made from into the disk, if it has become much.

        One for which there is no room or no time waits for the next layer, until there are too many: then it raises.
        """
        image = owner.record.image
        assert image is not None  # noqa: S101 - it has a disk
        between = [disk for disk in image.disks if disk.is_relative_to(self._folder)]
        if len(between) < _MERGE_AT:
            return
        try:
            await self._merge(owner, machine, image, between)
        except InsulaError as error:
            if len(between) >= _MOST:
                raise
            _log.warning("layers are not merged yet", instance_id=owner.record.spec.id, problem=str(error))

    async def _merge(
        self, owner: Owner, machine: CanFork | None, image: BootableImage, between: Sequence[Path]
    ) -> None:
        await asyncio.to_thread(_check_room, self._folder, between)
        below = image.disks[image.disks.index(between[-1]) + 1 :]
        if machine is not None:
            await machine.merge_layers(below[0])
        else:
            disk = self._records.folder_of(owner.record.spec.id) / "disk.qcow2"
            await self._tools.disks.merge(disk, below[0])
        await owner.change(image=replace(image, disk=below[0], behind=below[1:]))
        _log.info("layers merged", instance_id=owner.record.spec.id, layers=len(between))
        await self.clean()

    async def settle(self, owner: Owner, machine: object) -> None:
        """Find out where a layer has come to that nobody saw end; nothing happens when there was none. Repeatable.

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
        if machine is not None and owner.has_agent:
            self._tools.background.spawn(thaw(owner.agent), f"thaw of {owner.record.spec.name}")

    async def clean(self) -> None:
        """Remove what no disk or snapshot is based on and no child will go on from."""
        async with self._cleaning:  # two at once would remove the same
            await self._clean()

    async def _clean(self) -> None:
        for folder in await asyncio.to_thread(lambda: sorted(self._folder.glob("*"))):
            if folder in self.with_devices or folder in self._making:
                continue
            in_use = self._disks_in_use()
            if in_use is None:
                return
            if folder / DISK_FILE in in_use:
                await asyncio.to_thread(_remove_devices, folder)
                await asyncio.to_thread(self._share, folder)
            else:
                await asyncio.to_thread(self._remove, folder)

    async def _undo(self, owner: Owner, machine: CanFork | None) -> None:
        try:
            await self.settle(owner, machine)
        except InsulaError as error:  # it has ended meanwhile
            _log.warning("a layer is settled without its machine", error=str(error))
            await self.settle(owner, None)
        with contextlib.suppress(OSError):  # the next look takes what is left
            await self.clean()

    def _share(self, folder: Path) -> None:
        share(folder, self._tools.uids.claim(folder) if self._tools.uids is not None else None)

    def _remove(self, folder: Path) -> None:
        shutil.rmtree(folder)
        if self._tools.uids is not None:
            self._tools.uids.release(folder)


def _check_room(folder: Path, layers: Sequence[Path]) -> None:
    wanted_bytes = sum(layer.stat().st_blocks * 512 for layer in layers)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes + _SPARE_BYTES:
        raise DiskFull(
            "There is no room to merge the layers of a disk",
            why=f"Up to {wanted_bytes >> 20} MiB are needed and {free_bytes >> 20} MiB are free",
            todo="Free space on the disk that holds Insula's folder, or delete snapshots",
        )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return True  # the layer had not come so far


def _put_back(base: Path, disk: Path) -> None:
    again = disk.with_name(f".{disk.name}.making")
    again.unlink(missing_ok=True)
    os.link(base, again)
    again.replace(disk)


def _remove_devices(folder: Path) -> None:
    for entry in folder.glob(f"{DEVICES_FILE}*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

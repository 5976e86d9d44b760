"""An instance's own files on disk: made, grown, set aside for a rebuild, removed. The caller holds its lock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from insula.node.agent import disk_files, guest_disks, new_disk, refusals
from insula.node.agent.disk_files import ASIDE
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.volumes import seen_by_guest
from insula.node.hypervisor.driver import CanGrowDisk
from insula.node.storage.backend import BootableImage, DiskBackend
from insula.node.storage.template import Template
from insula.protocol.node import GrowReport, InstanceSpec


async def make(
    keeper: InstanceKeeper,
    spec: InstanceSpec,
    image: BootableImage,
    backend: DiskBackend,
    folder: Path,
    *,
    template: Template | None = None,
) -> None:
    """Disk and seed from the image; nothing happens when the disk is there.

    `template` is what the image's disk is from, and what the first start may go on from.
    """
    if (folder / "disk.qcow2").exists() and keeper.record.image is not None:
        if keeper.record.identity is not None:  # it is from the pool, and its guest has not been told yet whose it is
            await backend.rewrite_seed(folder / "seed.iso", new_disk.seed_contents(keeper.record))
        return
    keeper.require_off("no disk can be made for it")
    # The record first: a disk without one would belong to nobody after a crash.
    key = template.key if template is not None else ""
    await keeper.change(image=image, template=key, point="", is_cut=False)
    await new_disk.write(replace(keeper.record, spec=spec), backend, folder, template)
    keeper.publish()


async def remove(keeper: InstanceKeeper, folder: Path) -> None:
    """Remove the disk and what belongs to it."""
    keeper.require_off("its disk cannot be removed")
    await _boot_it(keeper)
    await keeper.discard_memory()
    await asyncio.to_thread(disk_files.unlink, folder, "")
    keeper.publish()


async def grow(keeper: InstanceKeeper, disk_gib: int, backend: DiskBackend, folder: Path) -> GrowReport:
    """Make the disk larger, for a guest that runs as well. May be repeated."""
    if keeper.machine is None:
        if keeper.record.saved is not None:
            raise refusals.is_asleep(keeper.record.spec.name)
        await _boot_it(keeper)
        await backend.grow(folder / "disk.qcow2", disk_gib)
        return guest_disks.OFF
    machine: object = keeper.require_machine()
    if not isinstance(machine, CanGrowDisk):
        raise refusals.is_on(keeper.record.spec.name, keeper.power, "its disk cannot grow")
    await machine.grow_disk(disk_gib)
    return await seen_by_guest(keeper, guest_disks.ROOT_DISK, disk_gib)


async def set_aside(keeper: InstanceKeeper, folder: Path) -> None:
    """Keep the disk under another name, so that a new one can be made."""
    keeper.require_off("its disk cannot be set aside")
    if (folder / f"disk.qcow2{ASIDE}").exists():
        return
    await keeper.change(image_aside=keeper.record.image, template="")
    await asyncio.to_thread(disk_files.rename, folder, "", ASIDE)
    keeper.publish()


async def bring_back(keeper: InstanceKeeper, folder: Path) -> None:
    """The disk that was set aside replaces the new one; nothing happens when none is set aside."""
    keeper.require_off("its disk cannot be brought back")
    if not (folder / f"disk.qcow2{ASIDE}").exists():
        return
    await asyncio.to_thread(disk_files.unlink, folder, "", keep="disk.qcow2")
    await keeper.change(image=keeper.record.image_aside, template="")
    await asyncio.to_thread(disk_files.rename, folder, ASIDE, "")
    await keeper.change(image_aside=None)


async def drop_aside(keeper: InstanceKeeper, folder: Path) -> None:
    """The new disk has proved itself: the old one goes."""
    await asyncio.to_thread(disk_files.unlink, folder, ASIDE)
    await keeper.change(image_aside=None)


async def _boot_it(keeper: InstanceKeeper) -> None:
    """Its disk is not what the template's guest knows any more: the first start is a boot."""
    if keeper.record.template:
        await keeper.change(template="")

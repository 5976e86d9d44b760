"""Making an image of a snapshot: a machine without a network boots a copy of its disk and takes out what is its own.

Everything happens in a draft folder below `publishing`, whose disk is a layer over the snapshot's. No program of the
guest runs (see `storage.generalising`). What comes of it is copied into one file and goes to the library all at once.
Killing the service at any moment leaves a draft and perhaps a machine, which the next start ends and removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from insula.base.errors import GuestFailure, NotFound
from insula.base.log import get_logger
from insula.domain.image import Image
from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.agent.population import Population
from insula.node.agent.snapshot_store import SnapshotStore
from insula.node.agent.users import give_user
from insula.node.hypervisor.driver import DirectBoot, Driver, MachineSpec
from insula.node.runtime.cgroups import Cgroups, remove_emptied
from insula.node.runtime.uids import UidRange
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.backend import BootableImage, DiskBackend, ImageSource, Publication
from insula.node.storage.generalising import check_console, check_publishable, write_initrd
from insula.protocol.node import Progress

_SIZE = Resources(vcpus=1, memory_mib=256, disk_gib=1, cpu_percent=100)
_CLEAN_S = 1800.0  # a large disk, emulated; a small one takes some seconds

_log = get_logger(__name__)


@dataclass(frozen=True)
class PublishingTools:
    """What it needs of the node. `folder` is where the drafts are."""

    folder: Path
    snapshots: SnapshotStore
    population: Population
    driver: Driver
    images: ImageSource
    disks: DiskBackend
    uids: UidRange | None = None
    cgroups: Cgroups | None = None


class Publisher:
    """Makes one image at a time, since each takes a machine."""

    def __init__(self, tools: PublishingTools) -> None:
        self._tools = tools
        self._busy = asyncio.Lock()

    @property
    def machines(self) -> frozenset[str]:
        """The names of machines that clean copies of disks."""
        return frozenset(_machine_id(draft) for draft in self._drafts())

    async def publish(self, image_id: str, title: str, snapshot_id: str, progress: Progress) -> Image:
        """Make the image of that id of a snapshot's disk; one that is there is left as it is. May be repeated.

        Raises NotFound and DataCorrupt (the snapshot), Unsupported for a guest that Insula did not build,
        :class:`GuestFailure` when its disk cannot be cleaned, DiskFull and what the driver raises.
        """
        async with self._busy:
            with contextlib.suppress(NotFound):
                return (await self._tools.images.bootable(image_id)).image
            base = (await asyncio.to_thread(self._tools.snapshots.get, snapshot_id)).image
            check_publishable(base.image)
            draft = self._tools.folder / image_id
            await self._remove(draft)
            self._tools.population.held = frozenset(base.disks)
            try:
                with disk_full_explained(f"Making an image of {title}"):
                    uid = await self._make_draft(draft, base)
                    progress("Taking out what is the instance's own", 10)
                    await self._clean(draft, base, uid)
                    progress("Copying its disk", 40)
                    fill = partial(self._tools.disks.flatten, draft / "disk.qcow2")
                    made = await self._tools.images.publish(Publication(image_id, title, base), fill, progress)
            finally:
                self._tools.population.held = frozenset()
                await asyncio.shield(self._remove(draft))
        _log.info("image published", image_id=image_id, snapshot_id=snapshot_id)
        return made

    async def clean(self) -> None:
        """End and remove what a killed service was making. For the service's start."""
        for draft in self._drafts():
            _log.info("removing an image that was not finished", folder=str(draft))
            await self._remove(draft)

    def _drafts(self) -> list[Path]:
        return sorted(self._tools.folder.glob("*"))

    async def _make_draft(self, draft: Path, base: BootableImage) -> int | None:
        await asyncio.to_thread(draft.mkdir, mode=0o700, parents=True)
        uids = self._tools.uids
        uid = await asyncio.to_thread(give_user, uids, draft) if uids is not None else None
        await self._tools.disks.layer(base.disk, draft / "disk.qcow2", uid)
        return uid

    async def _clean(self, draft: Path, base: BootableImage, uid: int | None) -> None:
        accelerator = await self._tools.driver.accelerator()
        initrd = draft / "initrd"
        command_line = await asyncio.to_thread(write_initrd, base, accelerator, initrd)
        boot = base.boot_for(Firmware.BIOS, accelerator)
        assert boot is not None  # noqa: S101 - write_initrd has seen to it
        spec = MachineSpec(
            id=_machine_id(draft),
            name="publishing",
            folder=draft,
            resources=_SIZE,
            machine_type=MachineType.Q35,
            firmware=Firmware.BIOS,
            disk=draft / "disk.qcow2",
            read_only=base.disks,
            direct_boot=DirectBoot(boot.kernel, initrd, command_line),
            uid=uid,
        )
        machine = await self._tools.driver.start(spec)
        try:
            async with asyncio.timeout(_CLEAN_S):
                await machine.wait()
        except TimeoutError as error:
            raise GuestFailure(
                "The disk could not be made an image in time",
                why=f"Cleaning it took longer than {_CLEAN_S:g} s",
                todo="Look at the host's load with `insula doctor`, and try again",
                code="generalise-failed",
            ) from error
        finally:
            await asyncio.shield(machine.kill())
        console = await asyncio.to_thread((draft / "console.log").read_bytes)
        check_console(base.name, console.decode("utf-8", "replace"))

    async def _remove(self, draft: Path) -> None:
        """Remove a draft with its machine. May be repeated."""
        if not draft.is_dir():
            return
        machine = await self._tools.driver.adopt(_machine_id(draft), draft)
        if machine is not None:
            await machine.kill()
        if self._tools.cgroups is not None:
            await remove_emptied(self._tools.cgroups.open(_machine_id(draft)))
        if self._tools.uids is not None:
            await asyncio.to_thread(self._tools.uids.release, draft)
        await asyncio.to_thread(shutil.rmtree, draft)


def _machine_id(draft: Path) -> str:
    return f"publish-{draft.name}"

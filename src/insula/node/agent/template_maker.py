"""Making a template: a machine is booted, and frozen when its guest is ready.

Everything happens in a draft folder, which gets the template's name at the end. Killing the service at any moment
leaves a draft and perhaps a machine, which the next start of the service ends and removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.clock import now_utc
from insula.base.errors import GuestFailure, Unsupported
from insula.base.log import get_logger
from insula.domain.instance import Resources
from insula.node.agent.background import to_its_end
from insula.node.agent.boot import BootSubject, BootWatch
from insula.node.agent.first_start import PROGRAM
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import execute, exists
from insula.node.agent.launch import Frozen, Launcher
from insula.node.agent.records import InstanceRecord
from insula.node.agent.template_store import TemplateStore
from insula.node.agent.users import give_user
from insula.node.hypervisor.driver import CanCutNetwork, CanSave, GuestMemory, Machine
from insula.node.runtime import shared_memory
from insula.node.runtime.cgroups import Cgroups, remove_emptied
from insula.node.runtime.uids import UidRange
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.backend import BootableImage, DiskBackend, SeedContents
from insula.node.storage.manifest import FileFacts
from insula.node.storage.template import DEVICES_FILE, DISK_FILE, MEMORY_FILE, Template, TemplateFacts, describe_files
from insula.protocol.node import InstanceSpec, Nic

NAME = "template"
MAC = "52:54:00:00:00:00"  # of a guest that nobody ever meets on a network
_READY_S = 600.0
_SETTLE_S = 1.0  # what a boot leaves running in the background comes to rest
_SETTLE_PROGRAM_S = 60.0
_SYNC_S = 60.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What making needs of the node."""

    launcher: Launcher
    store: TemplateStore
    disks: DiskBackend
    uids: UidRange | None = None
    cgroups: Cgroups | None = None
    settle_s: float = _SETTLE_S


class TemplateMaker:
    """Makes one template at a time, since each takes a machine."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self.store = workshop.store
        self.machine: Resources | None = None  # what the machine takes that is being booted
        self.is_storing = False  # its machine has ended, and its files are being written
        self._busy = asyncio.Lock()

    @property
    def machines(self) -> frozenset[str]:
        """The names of machines that are being booted for templates."""
        return frozenset(_machine_id(draft) for draft in self.store.drafts())

    async def make(self, key: str, spec: InstanceSpec, image: BootableImage) -> Template:
        """Make the template for instances like `spec`; one that is there is returned. May be repeated.

        Raises what storage, network and driver raise, :class:`GuestFailure` when the guest does not become ready;
        nothing is left behind then.
        """
        async with self._busy:
            found = await self.store.find(key)
            if found is not None:
                return found
            draft = self.store.draft(key)
            await self._remove(draft)
            try:
                self.machine = spec.resources
                with disk_full_explained(f"Making a template of {image.name}"):
                    return await self._make_in(draft, key, _nobody(spec, _machine_id(draft)), image)
            finally:
                await asyncio.shield(self._remove(draft))
                self.machine, self.is_storing = None, False

    async def clean(self) -> None:
        """End and remove what a killed service was making. For the service's start."""
        for draft in self.store.drafts():
            _log.info("removing a template that was not finished", folder=str(draft))
            await self._remove(draft)

    async def _make_in(self, draft: Path, key: str, spec: InstanceSpec, image: BootableImage) -> Template:
        work = self._workshop
        await asyncio.to_thread(draft.mkdir, mode=0o700)
        uid = await asyncio.to_thread(give_user, work.uids, draft) if work.uids is not None else None
        await work.disks.make_seed(draft / "seed.iso", SeedContents(spec.id, spec.hostname), uid)
        await work.disks.clone(image, draft / DISK_FILE, spec.resources.disk_gib, uid)
        memory = shared_memory.make(spec.id, spec.resources.memory_mib << 20)
        try:
            await self._freeze(draft, InstanceRecord(spec, uid=uid, image=image), GuestMemory(memory))
            self.machine, self.is_storing = None, True
            shared_memory.seal(memory)
            await to_its_end(shared_memory.store, memory, draft / MEMORY_FILE)
            await self._release(draft)
            files = await asyncio.to_thread(describe_files, draft)
            template = await self.store.publish(draft, _facts(key, spec, image, files))
        except BaseException:
            os.close(memory)
            raise
        self.store.memories.keep(template.name, memory)
        _log.info("template made", image=image.name, key=key)
        return template

    async def _freeze(self, draft: Path, record: InstanceRecord, memory: GuestMemory) -> None:
        machine = await self._workshop.launcher.start_in(draft, record, Frozen(memory))
        agent = GuestAgent(draft / "agent.sock", NAME)
        try:
            if not isinstance(machine, CanSave) or not isinstance(machine, CanCutNetwork):
                raise Unsupported("This driver's machines cannot be frozen", code="no-templates")
            await _await_ready(machine, agent, draft, record)
            if not await exists(agent, PROGRAM):
                raise has_no_template(record.spec.image)
            await machine.set_link(False)
            await asyncio.sleep(self._workshop.settle_s)
            await _settle(agent, record.spec.image)
            # An instance that has to boot from a copy of this disk finds everything on it.
            with contextlib.suppress(GuestFailure):
                await execute(agent, ("sync",), b"", _SYNC_S)
            # Its agent is still connected: one that saw its caller go would look for the next only now and then.
            await machine.pause()
            await machine.save(draft / DEVICES_FILE)
        finally:
            await agent.close()
            await asyncio.shield(machine.kill())
            await asyncio.shield(self._workshop.launcher.put_down_in(draft))

    async def _release(self, draft: Path) -> None:
        """Give back what its machine had of the host."""
        if self._workshop.cgroups is not None:
            await remove_emptied(self._workshop.cgroups.open(_machine_id(draft)))
        if self._workshop.uids is not None:
            await asyncio.to_thread(self._workshop.uids.release, draft)

    async def _remove(self, draft: Path) -> None:
        """Remove a draft with its machine. May be repeated, and does nothing once it has become a template."""
        if not draft.is_dir():
            return
        machine = await self._workshop.launcher.adopt_in(_machine_id(draft), draft)
        if machine is not None:
            await machine.kill()
        await self._workshop.launcher.put_down_in(draft)
        await self._release(draft)
        await asyncio.to_thread(shutil.rmtree, draft)


async def _settle(agent: GuestAgent, image: str) -> None:
    done = await execute(agent, (PROGRAM, "settle"), b"", _SETTLE_PROGRAM_S)
    if done.exit_code != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-500:]
        raise GuestFailure(
            f"The guest of {image} could not be made ready for copies of itself",
            why=f"{PROGRAM} settle ended with status {done.exit_code}: {said or 'it said nothing'}",
            code="settle-failed",
        )


async def _await_ready(machine: Machine, agent: GuestAgent, draft: Path, record: InstanceRecord) -> None:
    assert record.image is not None  # noqa: S101 - it was made with one
    subject = BootSubject(NAME, draft / "console.log", agent, record.image.image, None, machine.started_at_s)
    watch = BootWatch(subject, _nobody_to_tell)
    watching = asyncio.create_task(watch.run())
    ending = asyncio.create_task(_fail_at_end(machine, watch))
    try:
        await watch.wait(_READY_S, lambda phase: None)
    finally:
        watching.cancel()
        ending.cancel()
        await asyncio.gather(watching, ending, return_exceptions=True)


async def _fail_at_end(machine: Machine, watch: BootWatch) -> None:
    await watch.fail(f"Its machine ended: {await machine.wait()}", "machine-ended")


def _nobody(spec: InstanceSpec, machine_id: str) -> InstanceSpec:
    """Only what the machine's size and devices come from: nothing in a template may be its first instance's."""
    resources = replace(spec.resources, disk_iops=0, disk_mbps=0, network_mbps=0, network_pps=0)
    nobody = InstanceSpec(machine_id, "", NAME, NAME, spec.image, resources, (Nic(MAC),))
    return replace(nobody, firmware=spec.firmware, machine_type=spec.machine_type)


def _facts(key: str, spec: InstanceSpec, image: BootableImage, files: dict[str, FileFacts]) -> TemplateFacts:
    size = spec.resources
    return TemplateFacts(key, image.name, str(image.disk), size.vcpus, size.memory_mib, size.disk_gib, now_utc(), files)


async def _nobody_to_tell(watch: BootWatch) -> None:
    """It has no record."""


def _machine_id(draft: Path) -> str:
    return f"template-{draft.name.rpartition('-')[2]}"


def has_no_template(image: str) -> Unsupported:
    """Why none can be made."""
    return Unsupported(
        f"Instances of {image} like this one cannot go on from a template",
        why="That needs a guest with an agent and our renewing program, and its kernel beside the image",
        todo="Nothing needs to be done: they boot from their disks",
        code="no-template",
    )

"""Snapshots of instances: made, removed, and gone on from.

What was the disk becomes a layer that nobody writes to any more (see layers), and the instance writes on over it. With
memory the guest is forked (see forks), and what its children would go on from is written to the snapshot's folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, DiskFull, Unsupported
from insula.base.log import get_logger
from insula.domain.capacity import Share
from insula.domain.snapshot import Consistency
from insula.node.agent import disk_files, forks
from insula.node.agent.disk_copy import CopyTools, copy_disk
from insula.node.agent.forks import ForkTools
from insula.node.agent.guest import GuestAgent
from insula.node.agent.platforms import needs_seed
from insula.node.agent.records import InstanceRecord, SavedMemory
from insula.node.agent.snapshot_store import (
    DEVICES_FILE,
    MEMORY_FILE,
    SnapshotFacts,
    SnapshotStore,
)
from insula.node.hypervisor.driver import Machine
from insula.node.runtime import shared_memory
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.backend import SeedContents
from insula.protocol.node import InstanceSpec, Power, SnapshotReport

_SPARE_BYTES = 64 << 20

_log = get_logger(__name__)


class Owner(Protocol):
    """An instance with snapshots; its lock is held by whoever changes it."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def power(self) -> Power: ...
    @property
    def has_agent(self) -> bool: ...
    @property
    def machine(self) -> Machine | None: ...
    def require_machine(self) -> Machine: ...  # Conflict when there is none
    def require_off(self, wish: str) -> None: ...  # Conflict when there is one
    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...


class Snapshots:
    """Makes and removes them, and makes disks that go on from them. `owners` are all instances of the node."""

    def __init__(self, store: SnapshotStore, tools: ForkTools, owners: Callable[[], Iterable[Owner]]) -> None:
        self.store = store
        self._tools = tools
        self._owners = owners
        self._copying_mib = 0

    @property
    def share(self) -> Share:
        """What guests' memories take of the host until they are on its disk."""
        return Share(self._copying_mib)

    async def take(self, owner: Owner, snapshot_id: str, with_memory: bool) -> SnapshotReport:
        """Make one, while the instance runs or not; one that is there is left as it is.

        Raises Conflict, Unsupported, DiskFull and what the driver raises: the instance is as before then.
        """
        facts = self.store.find(snapshot_id)
        if facts is None:
            _check_takeable(owner)
            folder = await asyncio.to_thread(self.store.begin, snapshot_id)
            try:
                take = self._with_memory if with_memory else self._of_disk
                facts = await take(owner, folder)
                size_bytes = await asyncio.to_thread(_taken_bytes, folder, facts.image.disk)
                facts = replace(facts, size_bytes=size_bytes)
                await asyncio.to_thread(self.store.finish, facts)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(self.store.remove, snapshot_id))
                raise
            _log.info("snapshot made", instance_id=facts.instance_id, snapshot_id=facts.id, paused_ms=facts.paused_ms)
        return SnapshotReport(facts.consistency, facts.size_bytes, facts.paused_ms, facts.frozen_ms)

    async def remove(self, snapshot_id: str) -> None:
        """Remove it; what a disk or another snapshot needs of it stays for them. May be repeated. Raises Conflict."""
        for owner in self._owners():
            record = owner.record
            if snapshot_id == record.point or (record.saved is not None and record.saved.snapshot == snapshot_id):
                raise _is_needed(record.spec.name)
        await asyncio.to_thread(self.store.remove, snapshot_id)
        await self._tools.layers.clean()

    async def check(self, spec: InstanceSpec, snapshot_id: str, with_memory: bool) -> SnapshotFacts:
        """Its record, if an instance can go on from it. Raises NotFound, DataCorrupt, and Unsupported (its memory)."""
        facts = self.store.get(snapshot_id)
        if with_memory:
            await self._tools.snapshots.check(facts, spec.resources.memory_mib)
            if facts.instance_id != spec.id:
                forks.check_renewable(facts.image, spec.name)
        gone = next((disk for disk in facts.image.disks if not disk.exists()), None)
        if gone is not None:
            raise DataCorrupt(
                "A file of the snapshot is missing",
                why=f"There is no {gone}",
                todo="Restore it, or delete the snapshot",
                code="snapshot-damaged",
            )
        return facts

    async def make_disk(self, owner: Owner, snapshot_id: str, with_memory: bool) -> None:
        """The disk of an instance that is off and has none; nothing happens when it has one.

        The instance that the snapshot is of is what it was then; any other is somebody else. With memory its next start
        goes on from there. Raises as :meth:`check` does.
        """
        record, folder = owner.record, self._folder_of(owner)
        if (folder / "disk.qcow2").exists() and record.image is not None:
            return
        owner.require_off("no disk can be made for it")
        facts = await self.check(record.spec, snapshot_id, with_memory)
        is_own = facts.instance_id == record.spec.id
        # The record first: a disk without one would belong to nobody after a crash.
        fields: dict[str, Any] = {"image": facts.image, "template": "", "point": "", "saved": None}
        if with_memory and facts.memory is not None:
            is_here = SavedMemory(facts.memory.accelerator, facts.id)
            fields |= {"saved": is_here} if is_own else {"point": facts.id, "is_renewing": False}
        await owner.change(**fields)
        await self._make_seed(owner, is_own)
        nvram = self.store.folder_of(snapshot_id) / disk_files.NVRAM
        if nvram.exists():
            await asyncio.to_thread(disk_files.copy, nvram, folder / disk_files.NVRAM)
        await self._make_layer(owner, facts, with_memory)
        owner.publish()

    async def _make_layer(self, owner: Owner, facts: SnapshotFacts, with_memory: bool) -> None:
        disks, disk, record = self._tools.disks, self._folder_of(owner) / "disk.qcow2", owner.record
        if with_memory:  # its guest knows the size
            await disks.layer(facts.image.disk, disk, record.uid)
            return
        draft = disk.with_name(f".{disk.name}.tmp")
        await disks.layer(facts.image.disk, draft, record.uid)
        await disks.grow(draft, record.spec.resources.disk_gib)
        await asyncio.to_thread(draft.replace, disk)

    async def _make_seed(self, owner: Owner, is_own: bool) -> None:
        record, seed = owner.record, self._folder_of(owner) / disk_files.SEED
        was = seed.with_name(f"{seed.name}{disk_files.ASIDE}")
        if is_own and was.exists():  # with the very keys that its guest knows
            await asyncio.to_thread(disk_files.copy, was, seed)
        elif record.image is not None and needs_seed(record.spec, record.image):
            spec = record.spec
            contents = SeedContents(spec.id, spec.hostname, spec.ssh_keys, spec.user_data)
            await self._tools.disks.make_seed(seed, contents, record.uid)

    async def _of_disk(self, owner: Owner, folder: Path) -> SnapshotFacts:
        tools = CopyTools(self._tools.layers, self._tools.records, self._tools.background)
        copy = await copy_disk(tools, owner, folder / disk_files.NVRAM)
        return SnapshotFacts(
            folder.name,
            owner.record.spec.id,
            now_utc(),
            copy.image,
            copy.consistency,
            paused_ms=copy.paused_ms,
            frozen_ms=copy.frozen_ms,
        )

    async def _with_memory(self, owner: Owner, folder: Path) -> SnapshotFacts:
        machine = forks.forkable(owner)
        forks.check_kind(owner.record)
        await self._tools.layers.merge(owner, machine)
        memory_mib = owner.record.spec.resources.memory_mib
        _check_room(folder, memory_mib << 20)
        facts_now = await self._tools.snapshots.facts_now(memory_mib)
        self._copying_mib += memory_mib
        try:
            copy = await forks.split_off(
                self._tools.layers, owner, machine, self._tools.background, folder / DEVICES_FILE
            )
            try:
                await _store(copy.memory, folder / MEMORY_FILE)
            finally:
                os.close(copy.memory)
        finally:
            self._copying_mib -= memory_mib
        return SnapshotFacts(
            folder.name,
            owner.record.spec.id,
            now_utc(),
            copy.image,
            Consistency.CRASH,
            paused_ms=copy.paused_ms,
            memory=facts_now,
        )

    def _folder_of(self, owner: Owner) -> Path:
        return self._tools.records.folder_of(owner.record.spec.id)


def _check_takeable(owner: Owner) -> None:
    record = owner.record
    name = record.spec.name
    if record.volumes:
        raise Unsupported(
            f"No snapshot of {name} can be made",
            why="It has volumes, and a snapshot holds an instance's own disk",
            todo="Detach its volumes first: `insula volume detach`",
            code="snapshot-of-volumes",
        )
    if record.point or record.saved is not None:
        raise Conflict(
            f"No snapshot of {name} can be made now",
            why="It is to go on from memory that its disk alone is not in step with",
            todo=f"Wake it first: `insula start {name}`",
            code="instance-hibernated",
        )
    if owner.machine is None:
        owner.require_off("no snapshot of it can be made")


def _is_needed(name: str) -> Conflict:
    return Conflict(
        f"{name} is to go on from the snapshot's memory",
        why="It was brought back to it, and has not been started since",
        todo=f"Start it first: `insula start {name}`, or with --cold from its disk alone",
        code="snapshot-in-use",
    )


def _check_room(folder: Path, wanted_bytes: int) -> None:
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes + _SPARE_BYTES:
        raise DiskFull(
            "There is no room for the snapshot's memory",
            why=f"Up to {wanted_bytes >> 20} MiB are needed and {free_bytes >> 20} MiB are free",
            todo="Free space on the disk that holds Insula's folder, or take a snapshot of the disk alone",
        )


async def _store(memory: int, target: Path) -> None:
    """It is not left before the thread has ended, whose descriptor is closed then."""
    storing = asyncio.create_task(asyncio.to_thread(shared_memory.store, memory, target))
    try:
        with disk_full_explained("Writing the snapshot's memory"):
            await asyncio.shield(storing)
    except BaseException:
        await asyncio.wait({storing})
        raise


def _taken_bytes(folder: Path, disk: Path) -> int:
    files = [disk, *(entry for entry in folder.iterdir() if entry.is_file())]
    return sum(file.stat().st_blocks * 512 for file in files)

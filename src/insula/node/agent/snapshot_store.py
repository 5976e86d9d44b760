"""The snapshots of a node: `snapshots/ID` below its folder, and the node's own record of each.

`snapshot.json` says what the snapshot is, and is written last: a folder without it is what is left of one that was cut
short. The disk is not there: it is a layer (see layers), on which others may be based as well. `nvram.qcow2` has the
guest's firmware variables, `devices` and `memory` the rest of a guest that ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.ids import Kind, is_id
from insula.domain.snapshot import Consistency
from insula.node.agent.launch import Frozen
from insula.node.agent.records import InstanceRecord, decode_path
from insula.node.hypervisor.driver import Driver, GuestMemory
from insula.node.runtime import shared_memory
from insula.node.storage.atomic import sync_folder
from insula.node.storage.backend import BootableImage

RECORD_FILE, DEVICES_FILE, MEMORY_FILE = "snapshot.json", "devices", "memory"

_log = get_logger(__name__)


@dataclass(frozen=True)
class MemoryFacts:
    """What must be the same for a machine that goes on from the memory."""

    memory_mib: int
    accelerator: str
    fingerprint: str  # the driver's


@dataclass(frozen=True)
class SnapshotFacts:
    """The content of `snapshot.json`. `image` is what a disk that goes on from it is based on."""

    id: str
    instance_id: str
    made_at: datetime
    image: BootableImage
    consistency: Consistency
    size_bytes: int = 0
    paused_ms: int = 0
    frozen_ms: int = 0
    memory: MemoryFacts | None = None


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(SnapshotFacts, dec_hook=decode_path)


class SnapshotStore:
    """All snapshots of one node. Methods that touch files block: call them from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, SnapshotFacts] = {}
        self.damaged: dict[str, DataCorrupt] = {}

    @property
    def disks(self) -> frozenset[Path]:
        """All files that they are based on."""
        return frozenset(disk for facts in self._known.values() for disk in facts.image.disks)

    def uses_image(self, name: str) -> list[str]:
        """The ids of those whose disks are based on the image."""
        return [facts.id for facts in self._known.values() if facts.image.name == name]

    def load_all(self) -> None:
        """Read all records; damaged ones are told of, and nothing that they may be based on is removed."""
        for snapshot_id in self.ids():
            try:
                self._known[snapshot_id] = self._read(snapshot_id)
            except NotFound:  # what is left of one that was cut short
                continue
            except DataCorrupt as error:
                _log.error("a snapshot cannot be used", snapshot_id=snapshot_id, problem=str(error))
                self.damaged[snapshot_id] = error

    def folder_of(self, snapshot_id: str) -> Path:
        """The folder of a snapshot. Raises :class:`InvalidInput` for what is no snapshot's id (a path, say)."""
        if not is_id(snapshot_id, Kind.SNAPSHOT):
            raise InvalidInput(
                f"{snapshot_id[:80]!r} is not a snapshot's id",
                why="An id looks like snp_01hq4z… with 26 characters after snp_",
                todo="Take the id from `insula snapshot show NAME`",
                code="invalid-id",
            )
        return self._folder / snapshot_id

    def ids(self) -> list[str]:
        """Every snapshot that has a folder here, oldest first."""
        return sorted(entry.name for entry in self._folder.glob("*") if is_id(entry.name, Kind.SNAPSHOT))

    def find(self, snapshot_id: str) -> SnapshotFacts | None:
        """Its record, None when it is not (wholly) there."""
        return self._known.get(snapshot_id)

    def get(self, snapshot_id: str) -> SnapshotFacts:
        """Its record. Raises :class:`NotFound` and :class:`DataCorrupt`."""
        if (error := self.damaged.get(snapshot_id)) is not None:
            raise DataCorrupt(error.what, why=error.why, todo=error.todo, code=error.code)
        if (facts := self._known.get(snapshot_id)) is None:
            raise _unknown(snapshot_id, self.folder_of(snapshot_id) / RECORD_FILE)
        return facts

    def begin(self, snapshot_id: str) -> Path:
        """An empty folder for a new one; what a try before left in it goes."""
        folder = self.folder_of(snapshot_id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def finish(self, facts: SnapshotFacts) -> None:
        """Write its record: from now on it is there."""
        folder = self.folder_of(facts.id)
        sync_folder(folder)
        write_atomic(folder / RECORD_FILE, msgspec.json.encode(facts, enc_hook=str))
        self._known[facts.id] = facts

    def remove(self, snapshot_id: str) -> None:
        """Remove all of it but its disk. May be repeated."""
        folder = self.folder_of(snapshot_id)
        (folder / RECORD_FILE).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        self._known.pop(snapshot_id, None)
        self.damaged.pop(snapshot_id, None)

    def _read(self, snapshot_id: str) -> SnapshotFacts:
        record = self.folder_of(snapshot_id) / RECORD_FILE
        try:
            return _DECODER.decode(record.read_bytes())
        except FileNotFoundError as error:
            raise _unknown(snapshot_id, record) from error
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise DataCorrupt(
                f"The record of snapshot {snapshot_id} is damaged",
                why=f"{record}: {error}",
                todo="Restore it, or delete the snapshot",
            ) from error


class SnapshotMemories:
    """Lends what snapshots have of a guest that ran to machines that go on from there."""

    def __init__(self, store: SnapshotStore, driver: Driver) -> None:
        self._store = store
        self._driver = driver

    async def facts_now(self, memory_mib: int) -> MemoryFacts:
        """What is true of a guest's memory that is written down now."""
        return MemoryFacts(memory_mib, await self._driver.accelerator(), await self._driver.fingerprint())

    async def check(self, facts: SnapshotFacts, memory_mib: int) -> None:
        """Raise :class:`Unsupported` when no machine with so much memory can go on from there on this host."""
        now, then = await self.facts_now(memory_mib), facts.memory
        if now != then:
            raise Unsupported(
                "The snapshot's memory cannot be used",
                why=f"It was written under {_said(then)}; this machine has {_said(now)}",
                todo="Use its disk alone: --disk-only, or --cold for a new instance",
                code="snapshot-memory-unusable",
            )

    @contextlib.asynccontextmanager
    async def lent(self, snapshot_id: str) -> AsyncIterator[Frozen]:
        """Its memory and devices, for a machine to be started with. Raises NotFound, Unsupported and DataCorrupt."""
        facts = self._store.get(snapshot_id)
        memory_mib = facts.memory.memory_mib if facts.memory is not None else 0
        await self.check(facts, memory_mib)
        folder = self._store.folder_of(snapshot_id)
        loading = asyncio.create_task(
            asyncio.to_thread(shared_memory.load, "snapshot", folder / MEMORY_FILE, memory_mib << 20)
        )
        try:
            memory = await asyncio.shield(loading)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, DataCorrupt):
                os.close(await loading)  # nobody else would
            raise
        try:
            yield Frozen(GuestMemory(memory, is_sealed=True), folder / DEVICES_FILE)
        finally:
            os.close(memory)

    @contextlib.asynccontextmanager
    async def for_waking(self, record: InstanceRecord) -> AsyncIterator[Frozen | None]:
        """What an instance that was brought back to a snapshot with memory goes on from; None for all others."""
        if record.saved is None or not record.saved.snapshot:
            yield None
            return
        async with self.lent(record.saved.snapshot) as frozen:
            yield frozen


def _said(facts: MemoryFacts | None) -> str:
    return f"{facts.accelerator} with {facts.memory_mib} MiB, {facts.fingerprint}" if facts is not None else "nothing"


def _unknown(snapshot_id: str, record: Path) -> NotFound:
    return NotFound(
        f"This node has no snapshot {snapshot_id}",
        why=f"There is no {record}",
        todo="Look at `insula snapshot list`; one that no node has can be deleted",
        code="unknown-snapshot",
    )

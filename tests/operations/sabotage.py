"""Steps that fail, hang or run twice on purpose, and the whole world to compare afterwards."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from insula.base.errors import HostFailure
from insula.control.operations.engine.table import Do, Facts, Step, Table, Tables, Work
from insula.control.operations.tables import TABLES
from insula.control.store.schema import port_reservation
from insula.domain.operation import Verb
from insula.node.agent import Node
from insula.node.hypervisor.fake import state
from tests.operations.control import PATIENCE_S, Control

_VOLATILE_FILES = frozenset({"fake.json", "console.log", "console.log.previous", "spec.json.backup", "guest-time"})
_VOLATILE_FIELDS = frozenset({"updated_at", "started_at", "boot_phases", "problem"})


class Mode(StrEnum):
    FAIL_BEFORE = "fails before its effect"
    FAIL_AFTER = "fails after its effect"
    HANG_AFTER = "hangs after its effect"
    TWICE = "runs twice"


@dataclass
class Saboteur:
    """Wraps every table. `step` (empty: every one) misbehaves as `mode` says; every undo runs twice."""

    verb: Verb | None = None
    step: str = ""
    mode: Mode = Mode.TWICE
    undo_fails: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def tables(self) -> Tables:
        return {verb: self._table(table) for verb, table in TABLES.items()}

    def aim(self, verb: Verb | None, step: str, mode: Mode) -> None:
        self.verb, self.step, self.mode, self.reached = verb, step, mode, asyncio.Event()

    def _table(self, table: Table) -> Table:
        return replace(table, steps=tuple(self._step(table.verb, step) for step in table.steps))

    def _step(self, verb: Verb, step: Step) -> Step:
        undo = self._undo(step.undo) if step.undo is not None else None
        return replace(step, do=self._do(verb, step), undo=undo)

    def _do(self, verb: Verb, step: Step) -> Do:
        async def do(work: Work) -> Facts | None:
            if verb is not self.verb or (self.step and self.step != step.name):
                return await step.do(work)
            if self.mode is Mode.FAIL_BEFORE:
                raise HostFailure("sabotage")
            facts = await step.do(work)
            if self.mode is Mode.FAIL_AFTER:
                raise HostFailure("sabotage")
            if self.mode is Mode.HANG_AFTER:
                self.reached.set()
                await asyncio.Event().wait()
            again = await step.do(work)
            # What was learned the first time stays true, as it does when the service is killed in between.
            return {**(again or {}), **(facts or {})}

        return do

    def _undo(self, undo: Do) -> Do:
        async def twice(work: Work) -> None:
            if self.undo_fails:
                raise HostFailure("sabotaged undo")
            await undo(work)
            await undo(work)

        return twice


async def world(control: Control, folder: Path) -> dict[str, Any]:
    """Records, ports, files and machines; without moments, and without what a failure is meant to tell.

    What there is of volumes, snapshots and backups is there only if there are any.
    """
    instances = [
        {name: value for name, value in asdict(record).items() if name not in _VOLATILE_FIELDS}
        for record in await control.store.instances.all()
    ]
    ports = await control.store._database.read(
        lambda connection: sorted(tuple(row) for row in connection.execute(sa.select(port_reservation)))
    )
    volumes = [
        {name: value for name, value in asdict(record).items() if name not in _VOLATILE_FIELDS}
        for record in await control.store.volumes.all()
    ]
    snapshots = [
        {name: value for name, value in asdict(record).items() if name not in _VOLATILE_FIELDS}
        for record in await control.store.snapshots.all()
    ]
    backups = [
        {name: value for name, value in asdict(record).items() if name not in _VOLATILE_FIELDS}
        for record in await control.store.backups.all()
    ]
    held = {
        "backups": backups,
        "kept for backups": await asyncio.to_thread(_snapshot_files, folder / "backups" / "points"),
        "volumes": volumes,
        "volume files": await asyncio.to_thread(_volume_files, folder / "volumes"),
        "snapshots": snapshots,
        "snapshot files": await asyncio.to_thread(_snapshot_files, folder / "snapshots"),
    }
    found = {"instances": instances, "ports": ports, **await _settled(control.node, folder / "instances")}
    return found | {name: each for name, each in held.items() if each}


async def _settled(node: Node, folder: Path) -> dict[str, Any]:
    # A guest that restarts is noticed, and written down, a moment after the command has returned.
    async with asyncio.timeout(PATIENCE_S):
        while True:
            machines, files = await _machines(node), await asyncio.to_thread(_files, folder)
            if "booting" not in machines.values() and not any(name.endswith(".tmp") for name in files):
                return {"files": files, "machines": machines}
            await asyncio.sleep(0.01)


def _volume_files(folder: Path) -> dict[str, str]:
    return {str(place.relative_to(folder)): place.read_text() for place in folder.rglob("*") if place.is_file()}


def _snapshot_files(folder: Path) -> list[str]:
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file())


async def _machines(node: Node) -> dict[str, str]:
    return {report.id: report.power.value for report in await node.observe()}


def _files(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place in sorted(folder.rglob("*")):
        name = str(place.relative_to(folder))
        if place.is_socket() or place.name in _VOLATILE_FILES or "guest-" in name:
            continue
        if place.name == "spec.json":
            record = json.loads(place.read_bytes())["record"]
            found[name] = {**record["spec"], "volumes": record["volumes"]} if record["volumes"] else record["spec"]
        elif place.name.startswith("disk"):
            found[name] = (_disk(place), _guest_files(place))  # the very same disk, not one like it
        elif place.is_dir():
            found[name] = "folder"
        else:
            found[name] = "file"
    return found


def _disk(disk: Path) -> dict[str, Any]:
    """What a disk is, whichever layer of it is on top."""
    return {name: value for name, value in json.loads(disk.read_bytes()).items() if name != "id"}


def _guest_files(disk: Path) -> str:
    """The guest's file tree, which stays the same when a fork has put a layer over the disk."""
    return (disk.parent / state.disk_identity(disk)).resolve().name

"""Finding, and on request removing, what no record owns: folders, processes, cgroups.

Only things that carry the name of one of *this* node's instance folders are looked at, so that several services side
by side on one host leave each other alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import HostFailure
from insula.node.agent.backups import Backups
from insula.node.agent.records import Records
from insula.node.agent.snapshots import Snapshots
from insula.node.agent.volumes import Volumes
from insula.node.runtime.cgroups import Cgroups
from insula.node.runtime.processes import Process
from insula.protocol.node import Leftover

_END_S = 5.0
# Only programs that we start: somebody may be reading a console log.
_PROGRAMS = re.compile(r"(qemu-system-\w+|bwrap)$")


@dataclass(frozen=True)
class Ground:
    """Where to look. `forget` removes an instance with its folder and machine."""

    records: Records
    volumes: Volumes
    snapshots: Snapshots
    backups: Backups
    cgroups: Cgroups | None
    forget: Callable[[str], Awaitable[None]]
    other_machines: frozenset[str] = frozenset()  # which are no instances, and have cgroups


@dataclass(frozen=True)
class _Stray:
    pid: int
    start_ticks: int
    instance_id: str
    name: str


async def sweep(ground: Ground, known: frozenset[str], remove: bool) -> Sequence[Leftover]:
    """What belongs to things that are not `known`.

    May be repeated. Raises HostFailure when a process does not end.
    """
    found = []
    for instance_id in await asyncio.to_thread(ground.records.ids):
        if instance_id not in known:
            if remove:
                await ground.forget(instance_id)
            found.append(Leftover("file", str(ground.records.folder_of(instance_id)), remove))
    found += await _sweep_disks(ground, known, remove)
    for stray in await asyncio.to_thread(_strays, ground.records, known):
        if remove:
            await _end(stray)
        found.append(Leftover("process", f"{stray.name} {stray.pid} of {stray.instance_id}", remove))
    owners = known | ground.other_machines
    return [*found, *await asyncio.to_thread(_sweep_cgroups, ground.cgroups, owners, remove)]


async def _sweep_disks(ground: Ground, known: frozenset[str], remove: bool) -> list[Leftover]:
    found = []
    for volume_id in await asyncio.to_thread(ground.volumes.store.ids):
        if volume_id not in known and ground.volumes.holder(volume_id) is None:
            if remove:
                await ground.volumes.remove(volume_id)
            found.append(Leftover("file", str(ground.volumes.store.folder_of(volume_id)), remove))
    for snapshot_id in await asyncio.to_thread(ground.snapshots.store.ids):
        if snapshot_id not in known:
            if remove:
                await ground.snapshots.remove(snapshot_id)
            found.append(Leftover("file", str(ground.snapshots.store.folder_of(snapshot_id)), remove))
    for backup_id in ground.backups.idle():
        if backup_id not in known:
            if remove:
                await ground.backups.drop([backup_id])
            found.append(Leftover("file", str(ground.backups.points.path_of(backup_id)), remove))
    return found


def _strays(records: Records, known: frozenset[str]) -> list[_Stray]:
    return [candidate for candidate in _candidates(records) if candidate.instance_id not in known]


def _candidates(records: Records) -> Iterable[_Stray]:
    """Every machine of ours that names an instance folder of this node in its arguments."""
    pattern = re.compile(re.escape(os.fsencode(records.folder)) + rb"/(ins_[0-9a-z]{26})(?![0-9a-z])")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            arguments = (entry / "cmdline").read_bytes()
            name = (entry / "comm").read_text().strip()
            program = os.fsdecode(arguments.split(b"\0", 1)[0])
            match = pattern.search(arguments)
            if match is None or not _PROGRAMS.search(program):
                continue
            process = Process.hold(int(entry.name))
            if process is not None:
                yield _Stray(process.pid, process.start_ticks, match[1].decode(), name)
                process.close()


async def _end(stray: _Stray) -> None:
    process = Process.hold(stray.pid, stray.start_ticks)
    if process is None:
        return
    with contextlib.closing(process):
        process.send(signal.SIGKILL)
        try:
            async with asyncio.timeout(_END_S):
                await process.wait_end()
        except TimeoutError as error:
            raise HostFailure(
                f"Process {stray.pid} ({stray.name}) does not end",
                why=f"It was killed {_END_S:g} s ago; the kernel is busy with it",
                todo="Look at the host's disks and load, then try again",
            ) from error


def _sweep_cgroups(cgroups: Cgroups | None, known: frozenset[str], remove: bool) -> list[Leftover]:
    found = []
    for name in cgroups.names() if cgroups is not None else ():
        if name not in known:
            if remove and cgroups is not None:
                cgroups.open(name).remove()
            found.append(Leftover("cgroup", name, remove))
    return found

"""Which processes carry an instance's network: written before they begin, read after a restart of the service."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

import msgspec

from insula.base.errors import HostFailure
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.node.runtime.processes import Process

_log = get_logger(__name__)

_FILE = "network.json"
_END_S = 5.0


@dataclass(frozen=True)
class ProcessEntry:
    """One process, told from a later one of the same number by its start time."""

    name: str
    pid: int
    start_ticks: int


@dataclass(frozen=True)
class NetworkRecord:
    """One instance's connection. `way` is the network's name."""

    way: str
    processes: tuple[ProcessEntry, ...] = ()


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(NetworkRecord)


def record_path(folder: Path) -> Path:
    return folder / _FILE


def load(folder: Path) -> NetworkRecord | None:
    """The connection that is recorded in `folder`, or None; a damaged record is logged and counts as none."""
    try:
        return _DECODER.decode(record_path(folder).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.error("a network record is damaged", path=str(record_path(folder)), problem=str(error))
        return None


def save(folder: Path, record: NetworkRecord) -> None:
    write_atomic(record_path(folder), msgspec.json.encode(record))


class Processes:
    """What is recorded in `folder`, each by its name."""

    def __init__(self, folder: Path, way: str) -> None:
        self._folder = folder
        self._way = way

    def entry(self, name: str) -> ProcessEntry | None:
        """Blocking."""
        found = load(self._folder)
        return next((e for e in found.processes if e.name == name), None) if found is not None else None

    def lives(self, name: str) -> bool:
        """Blocking."""
        process = self._hold(name)
        if process is None:
            return False
        process.close()
        return True

    def signal(self, name: str, number: signal.Signals) -> None:
        """Blocking; nothing happens when it does not live."""
        process = self._hold(name)
        if process is not None:
            with contextlib.closing(process):
                process.send(number)

    async def end(self, name: str) -> None:
        """Kill it, if it lives. Raises HostFailure when it does not end."""
        entry = await asyncio.to_thread(self.entry, name)
        process = Process.hold(entry.pid, entry.start_ticks) if entry is not None else None
        if process is not None and entry is not None:
            with contextlib.closing(process):
                await _end(process, entry)

    async def note(self, entry: ProcessEntry) -> None:
        """Record it in the place of an earlier one of its name."""
        found = await asyncio.to_thread(load, self._folder)
        others = [other for other in (found.processes if found is not None else ()) if other.name != entry.name]
        await asyncio.to_thread(save, self._folder, NetworkRecord(self._way, (*others, entry)))

    def _hold(self, name: str) -> Process | None:
        entry = self.entry(name)
        return Process.hold(entry.pid, entry.start_ticks) if entry is not None else None


async def end_processes(folder: Path) -> None:
    """End all recorded processes and remove the record. May be repeated.

    Raises HostFailure when one does not end: then the record stays.
    """
    record = await asyncio.to_thread(load, folder)
    for entry in record.processes if record is not None else ():
        process = Process.hold(entry.pid, entry.start_ticks)
        if process is not None:
            with contextlib.closing(process):
                await _end(process, entry)
    record_path(folder).unlink(missing_ok=True)


async def _end(process: Process, entry: ProcessEntry) -> None:
    process.send(signal.SIGKILL)
    try:
        async with asyncio.timeout(_END_S):
            await process.wait_end()
    except TimeoutError as error:
        raise HostFailure(
            f"Process {entry.pid} ({entry.name}) does not end",
            why=f"It was killed {_END_S:g} s ago; the kernel is busy with it",
            todo="Look at the host's disks and load, then try again",
        ) from error

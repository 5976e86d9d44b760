"""What a home has left on the host that no record owns, found without the product's own bookkeeping."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from insula.protocol.service_record import read_record

_ENDS_WITHIN_S = 2.0
_INSTANCE_ID = re.compile(r"ins_[0-9a-hjkmnp-tv-z]{26}")


def orphans(home: Path, known: frozenset[str]) -> list[str]:
    """Folders, files, processes and cgroups of `home` that belong to no instance in `known` (ids).

    What is there only at one of two looks was about to end.
    """
    if not (first := _seen(home, known)):
        return []
    time.sleep(_ENDS_WITHIN_S)
    return sorted(first & _seen(home, known))


def _seen(home: Path, known: frozenset[str]) -> set[str]:
    return {*_folders(home, known), *_processes(home, known), *_cgroups(home, known), *_unfinished(home)}


def _folders(home: Path, known: frozenset[str]) -> Iterator[str]:
    for path in (home / "node" / "instances").glob("*"):
        if path.is_dir() and path.name not in known:
            yield f"folder {path}"


def _unfinished(home: Path) -> Iterator[str]:
    """Drafts that a kill cut short: everything is written beside its place first, as `.name…`."""
    for pattern in ("node/instances/*/.*.tmp*", "node/images/.*building*"):
        yield from (f"draft {path}" for path in home.glob(pattern))


@dataclass(frozen=True)
class Process:
    """A living process of a home, and the instances that its command line and environment name."""

    command: str
    instances: frozenset[str]
    is_of_network: bool


def processes_of(home: Path) -> dict[int, Process]:
    """Every living process whose command line or environment names `home`, by its id."""
    marker = str(home).encode()
    found: dict[int, Process] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            told = command + b"\0" + (entry / "environ").read_bytes()
            alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if marker in told and alive:
            shown = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
            instances = frozenset(_INSTANCE_ID.findall(told.decode("utf-8", "replace")))
            found[int(entry.name)] = Process(shown, instances, b"\0INSULA_SPACE=" in told)
    return found


def _processes(home: Path, known: frozenset[str]) -> Iterator[str]:
    service = read_record(home)
    for pid, process in processes_of(home).items():
        if process.instances and not process.instances & known:
            yield f"process {pid} {process.command[:160]}"
        if process.is_of_network and known:
            continue  # it is no instance's own, and goes some time after the last one
        if not process.instances and (service is None or not _descends(pid, service.pid)):
            yield f"process {pid} of nobody: {process.command[:160]}"


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return True  # it ended while we looked
    return False


def _cgroups(home: Path, known: frozenset[str]) -> Iterator[str]:
    """Control groups named after an instance that was ours (its folder or record tells) and is gone."""
    ours = {path.name for path in (home / "node" / "instances").glob("*")} | known
    for path in Path("/sys/fs/cgroup").rglob("*ins_*"):
        match = _INSTANCE_ID.search(path.name)
        if path.is_dir() and match and match.group() in ours - known:
            yield f"cgroup {path}"

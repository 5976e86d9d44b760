"""Limits that the host enforces on a machine: one cgroup for each, in version 2 or in version 1's hierarchies.

Where the cgroups go: as root, the folder `insula-<scope>` at the top of each hierarchy, out of the service's own unit,
so that stopping the service touches no machine. As an ordinary user, the cgroup that systemd delegated to us, if it
did (`Delegate=yes`); otherwise there are no such limits and :class:`NoCgroups` says why. `scope` keeps several
services on one host apart. Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.

All calls are a few small writes to a kernel file system, without waiting; removing needs the members to be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from insula.base.errors import HostFailure

_PERIOD_US = 100_000
_SMALLEST_QUOTA_US = 1_000  # the kernel refuses less
_REMOVAL_TRIES, _REMOVAL_WAIT_S = 20, 0.02
_CONTROLLERS = ("cpu", "memory", "pids")


@dataclass(frozen=True)
class Limits:
    """`cpu_percent` of one core, 0 for unlimited; `cpu_weight` 1 to 10000, 100 is the normal."""

    cpu_percent: int
    cpu_weight: int
    memory_bytes: int
    pids: int


class Cgroup(Protocol):
    """One machine's cgroup. Every method may be repeated."""

    def apply(self, limits: Limits) -> None: ...
    def add(self, pid: int) -> None: ...  # with all its threads
    def pids(self) -> Sequence[int]: ...
    def out_of_memory_kills(self) -> int: ...
    def remove(self) -> None: ...  # its processes have ended


class Cgroups(Protocol):
    """Where the cgroups of all machines are. `missing` names what it cannot limit, with the reason."""

    kind: str
    missing: Mapping[str, str]

    def open(self, name: str) -> Cgroup: ...  # made at the first `apply` or `add`
    def names(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo: `controllers` are v1's, empty for v2."""

    path: Path
    version: int
    controllers: frozenset[str]


def cgroup_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup file systems in the text of /proc/self/mountinfo (proc(5))."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        path = Path(before.split(" ")[4].encode().decode("unicode_escape"))
        if kind == "cgroup2":
            found.append(Mount(path, 2, frozenset()))
        elif kind == "cgroup":
            found.append(Mount(path, 1, frozenset(options.split(",")) & frozenset((*_CONTROLLERS, "cpuacct"))))
    return found


def detect(scope: str) -> Cgroups:
    """The best way this host offers. Never raises for lack of one: see :class:`NoCgroups`."""
    mounts = cgroup_mounts(Path("/proc/self/mountinfo").read_text())
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    is_root = os.geteuid() == 0
    for mount in mounts:
        if mount.version == 2 and {"cpu", "memory"} <= _available(mount.path):
            return _detect_v2(mount.path, own.get("", "/"), scope, is_root)
    places = {name: m.path for m in mounts if m.version == 1 for name in m.controllers if name in _CONTROLLERS}
    if places and is_root:
        return CgroupsV1({name: path / f"insula-{scope}" for name, path in places.items()})
    why = "cgroup v1 belongs to root alone" if places else "no cgroup file system with controllers is mounted"
    return NoCgroups(why)


def _available(folder: Path) -> frozenset[str]:
    try:
        return frozenset((folder / "cgroup.controllers").read_text().split())
    except OSError:
        return frozenset()


def _detect_v2(mount: Path, own: str, scope: str, is_root: bool) -> Cgroups:
    if is_root:
        return CgroupsV2(mount / f"insula-{scope}", delegated_root=mount)
    mine = mount / own.lstrip("/")
    if not os.access(mine / "cgroup.procs", os.W_OK) or not os.access(mine, os.W_OK):
        return NoCgroups(
            "this user's cgroup is not delegated: start the service with `systemd-run --user -p Delegate=yes`"
        )
    return CgroupsV2(mine / f"insula-{scope}", delegated_root=mine)


async def remove_emptied(cgroup: Cgroup) -> None:
    """Remove a cgroup whose last process has just ended.

    The kernel takes a dying process out of its cgroup a moment after everything else of it is gone, a long moment on a
    busy host. Raises :class:`HostFailure` when that does not happen.
    """
    for _ in range(_REMOVAL_TRIES):
        with contextlib.suppress(HostFailure):
            cgroup.remove()
            return
        await asyncio.sleep(_REMOVAL_WAIT_S)
    cgroup.remove()


class CgroupsV2:
    """Cgroups under one folder of the unified hierarchy."""

    kind = "v2"

    def __init__(self, folder: Path, *, delegated_root: Path) -> None:
        self._folder = folder
        self._root = delegated_root
        lacking = set(_CONTROLLERS) - _available(delegated_root)
        self.missing: Mapping[str, str] = {name: f"cgroup v2 offers no {name} controller here" for name in lacking}

    def open(self, name: str) -> Cgroup:
        return _CgroupV2(self._folder / name, self._prepare)

    def names(self) -> Sequence[str]:
        return _folders(self._folder)

    def _prepare(self) -> None:
        """Let children use the controllers: from the delegated root down to our folder."""
        self._folder.mkdir(exist_ok=True)
        wanted = " ".join(f"+{name}" for name in sorted(set(_CONTROLLERS) & _available(self._root)))
        try:
            _write(self._root / "cgroup.subtree_control", wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # A cgroup with members cannot share its controllers out (the "no internal processes" rule): we are in it.
            leaf = self._root / "service"
            leaf.mkdir(exist_ok=True)
            for pid in (self._root / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    _write(leaf / "cgroup.procs", pid)
            _write(self._root / "cgroup.subtree_control", wanted)
        _write(self._folder / "cgroup.subtree_control", wanted)


class _CgroupV2:
    def __init__(self, folder: Path, prepare_parents: Callable[[], None]) -> None:
        self._folder = folder
        self._prepare_parents = prepare_parents

    def apply(self, limits: Limits) -> None:
        with _explained(self._folder):
            self._make()
            quota = str(_quota_us(limits)) if limits.cpu_percent else "max"
            _write(self._folder / "cpu.max", f"{quota} {_PERIOD_US}")
            _write(self._folder / "cpu.weight", str(limits.cpu_weight))
            _write(self._folder / "memory.max", str(limits.memory_bytes))
            if (self._folder / "pids.max").exists():
                _write(self._folder / "pids.max", str(limits.pids))

    def add(self, pid: int) -> None:
        with _explained(self._folder):
            self._make()
            _write(self._folder / "cgroup.procs", str(pid))

    def pids(self) -> Sequence[int]:
        return _pids(self._folder)

    def out_of_memory_kills(self) -> int:
        return _counter(self._folder / "memory.events", "oom_kill")

    def remove(self) -> None:
        with _explained(self._folder):
            _remove(self._folder)

    def _make(self) -> None:
        if not self._folder.exists():
            self._prepare_parents()
            self._folder.mkdir(exist_ok=True)


class CgroupsV1:
    """Cgroups of the same name in each hierarchy of version 1. `places` is controller → our folder there."""

    kind = "v1"

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = places
        self.missing: Mapping[str, str] = {
            name: f"no cgroup v1 hierarchy with {name} is mounted" for name in _CONTROLLERS if name not in places
        }

    def open(self, name: str) -> Cgroup:
        return _CgroupV1({controller: place / name for controller, place in self._places.items()})

    def names(self) -> Sequence[str]:
        return sorted({name for place in self._places.values() for name in _folders(place)})


class _CgroupV1:
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def apply(self, limits: Limits) -> None:
        quota = str(_quota_us(limits)) if limits.cpu_percent else "-1"
        shares = str(max(2, limits.cpu_weight * 1024 // 100))
        files = {
            "cpu": (("cpu.cfs_period_us", str(_PERIOD_US)), ("cpu.cfs_quota_us", quota), ("cpu.shares", shares)),
            "memory": (("memory.limit_in_bytes", str(limits.memory_bytes)),),
            "pids": (("pids.max", str(limits.pids)),),
        }
        for controller, folder in self._folders.items():
            with _explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for name, value in files[controller]:
                    _write(folder / name, value)

    def add(self, pid: int) -> None:
        for folder in self._folders.values():
            with _explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _write(folder / "cgroup.procs", str(pid))

    def pids(self) -> Sequence[int]:
        return sorted({pid for folder in self._folders.values() for pid in _pids(folder)})

    def out_of_memory_kills(self) -> int:
        folder = self._folders.get("memory")
        return _counter(folder / "memory.oom_control", "oom_kill") if folder else 0

    def remove(self) -> None:
        for folder in self._folders.values():
            with _explained(folder):
                _remove(folder)


class NoCgroups:
    """A host that limits nothing for us: machines run, with the disk's and the network's limits only."""

    kind = "none"

    def __init__(self, why: str) -> None:
        self.missing: Mapping[str, str] = dict.fromkeys(_CONTROLLERS, why)

    def open(self, name: str) -> Cgroup:
        return _NoCgroup()

    def names(self) -> Sequence[str]:
        return ()


class _NoCgroup:
    def apply(self, limits: Limits) -> None:
        """Nothing to apply: the doctor and the node's report say so."""

    def add(self, pid: int) -> None:
        """There is nothing to add it to."""

    def pids(self) -> Sequence[int]:
        return ()

    def out_of_memory_kills(self) -> int:
        return 0

    def remove(self) -> None:
        """There is nothing to remove."""


def _quota_us(limits: Limits) -> int:
    return max(_SMALLEST_QUOTA_US, limits.cpu_percent * _PERIOD_US // 100)


def _write(file: Path, value: str) -> None:
    # Never creates: a missing file means that the kernel lacks the feature, and must not become a plain file.
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _pids(folder: Path) -> Sequence[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []


def _counter(file: Path, key: str) -> int:
    try:
        return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == key), 0)
    except OSError:
        return 0


def _folders(folder: Path) -> Sequence[str]:
    return sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
    # The last machine of a service takes the service's own folder with it; another's keeps it.
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return  # it has ended meanwhile, which the caller learns from the process itself
    except OSError as error:
        raise HostFailure(
            f"The cgroup {folder} could not be set up or removed",
            why=f"{error.strerror}: {error.filename or folder}",
            todo="`insula doctor` says what this host's cgroups can do",
            code="cgroup-failed",
        ) from error

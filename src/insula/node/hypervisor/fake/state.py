"""What a fake machine is, kept in its folder: the file is the truth, so it outlives the process that serves it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from insula.base.files import write_atomic
from insula.domain.disk import GIB, check_growth
from insula.node.hypervisor.driver import EndReason, MachineStatus, MachineVolume


@dataclass(frozen=True)
class FakeState:
    """`files` is the folder of the guest's file tree; `boot_s` is how long a boot takes.

    `disk` is the identity of the layer that it writes to, `layers` are the names of those made since, `volumes` the
    slots and files of those that it has, `cards` the MAC addresses of further network cards. `lines_written` is how
    many of this boot's console lines are out; `crash_at_s` is the Unix time of an injected crash, 0 for none.
    """

    spec_id: str
    name: str
    mac: str
    files: str
    pid: int
    started_at_s: float
    booted_at_s: float
    boot_s: float
    status: MachineStatus = MachineStatus.RUNNING
    end_reason: EndReason | None = None
    lines_written: int = 0
    link_up: bool = True
    disk: str = ""
    is_frozen: bool = False
    layers: tuple[str, ...] = ()
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cards: tuple[str, ...] = ()
    never_ready: bool = False
    ignores_power_button: bool = False
    broken_program: str = ""
    crash_at_s: float = 0.0
    task: str = ""  # what its kernel does instead of booting the guest, then the machine is off

    @property
    def ready_at_s(self) -> float:
        return self.booted_at_s + self.boot_s


def state_path(folder: Path) -> Path:
    return folder / "fake.json"


def disk_identity(disk: Path) -> str:
    """Names the guest's file tree: it comes and goes with the disk, wherever the disk file is moved meanwhile."""
    try:
        entry = json.loads(disk.read_bytes() or b"{}")
        return f"guest-{entry['id']}" if "id" in entry else f"guest-{disk.stat().st_ino}"
    except FileNotFoundError:
        return "guest-0"
    except ValueError:
        return f"guest-{disk.stat().st_ino}"


def freeze_tree(folder: Path, identity: str) -> None:
    """Keep what the guest's file tree is now, for disks that are layers over the one of this identity."""
    kept = folder / f"{identity}.frozen"
    if not kept.exists():
        (folder / identity).mkdir(exist_ok=True)
        shutil.copytree(folder / identity, kept)


def tree_for(folder: Path, disk: Path, below: Path | None) -> str:
    """The name of a disk's file tree in its machine's folder; made from that of the disk `below` it the first time.

    The tree of a guest that was off when it got a layer goes on under both names, as it does for one that ran.
    """
    own = disk_identity(disk)
    tree = folder / own
    if below is None or tree.exists():
        return own
    base = disk_identity(below)
    for place in sorted(folder.parent.glob(f"*/{base}")):
        freeze_tree(place.parent, base)
    kept = next(iter(sorted(folder.parent.glob(f"*/{base}.frozen"))), None)
    if kept is not None:
        shutil.copytree(kept, tree)
    return own


def frozen_files(saved: Path) -> Path:
    """Where the guest's file tree is that belongs to memory which a fork wrote."""
    return saved.with_name(f"{saved.name}-files")


def held_volume(volume: MachineVolume) -> dict[str, Any]:
    """What is kept of a volume."""
    return {"slot": volume.slot, "file": str(volume.file)}


def grow_file(disk: Path, size_gib: int) -> None:
    """An imaginary disk is a line of text that says how large it is. Raises Conflict."""
    entry = json.loads(disk.read_bytes() or b"{}")
    check_growth(int(entry.get("size_gib", 0)) * GIB, size_gib)
    disk.write_text(json.dumps({**entry, "size_gib": size_gib}) + "\n")


def load(folder: Path) -> FakeState | None:
    """The recorded state, or None when there is none or it is unreadable: such a machine cannot be running."""
    try:
        data = json.loads(state_path(folder).read_bytes())
        reason = data.pop("end_reason")
        status = MachineStatus(data.pop("status"))
        layers = tuple(data.pop("layers"))
        return FakeState(**data, layers=layers, status=status, end_reason=EndReason(reason) if reason else None)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def save(folder: Path, state: FakeState) -> None:
    write_atomic(state_path(folder), json.dumps(asdict(state)).encode())


def update(folder: Path, pid: int, **fields: Any) -> FakeState | None:
    """Change the state of machine `pid` unless it has ended; returns what is recorded then.

    Under a lock, since a machine may be crashed from another process while it notes its own progress.
    """
    try:
        lock = os.open(folder / "fake.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = load(folder)
        if state is None or state.pid != pid or state.status is MachineStatus.ENDED:
            return state
        state = replace(state, **fields)
        save(folder, state)
        return state
    finally:
        os.close(lock)


def crash(folder: Path) -> None:
    """What `kill -9` is to a real machine: end it from outside, from any process. May be repeated."""
    state = load(folder)
    if state is not None:
        update(folder, state.pid, status=MachineStatus.ENDED, end_reason=EndReason.CRASHED)

"""Volumes: disks that belong to no instance for good. They are attached to one, detached, and attached to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.base.errors import Conflict
from insula.domain.instance import InstanceState, Resources

MAX_ATTACHED = 16  # to one instance


class FileSystem(StrEnum):
    """What a new volume has on it."""

    NONE = "none"
    EXT4 = "ext4"
    XFS = "xfs"


class VolumeState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"  # attached to no instance
    ATTACHING = "attaching"  # also on its way from one instance to another
    ATTACHED = "attached"
    DETACHING = "detaching"
    GROWING = "growing"
    LIMITING = "limiting"  # its limits change
    DELETING = "deleting"
    FAILED = "failed"  # an operation left it half-way


_S = VolumeState
_SETTLED = frozenset({_S.AVAILABLE, _S.ATTACHED, _S.FAILED})

# Every legal change of state. An operation that undoes itself returns to where it began, hence the ways back.
TRANSITIONS: Mapping[VolumeState, frozenset[VolumeState]] = {
    _S.CREATING: frozenset({_S.AVAILABLE, _S.ATTACHED, _S.FAILED}),
    _S.AVAILABLE: frozenset({_S.ATTACHING, _S.GROWING, _S.LIMITING, _S.DELETING}),
    _S.ATTACHING: _SETTLED,
    _S.ATTACHED: frozenset({_S.ATTACHING, _S.DETACHING, _S.GROWING, _S.LIMITING, _S.AVAILABLE}),
    _S.DETACHING: _SETTLED,
    _S.GROWING: _SETTLED,
    _S.LIMITING: _SETTLED,
    _S.DELETING: _SETTLED,
    _S.FAILED: frozenset({_S.ATTACHING, _S.DETACHING, _S.DELETING}),
}

# What a command does to a volume, by the state that it puts it into.
_DONE: Mapping[VolumeState, str] = {
    _S.ATTACHING: "attached",
    _S.DETACHING: "detached",
    _S.GROWING: "grown",
    _S.LIMITING: "limited",
    _S.DELETING: "deleted",
}

# A guest that sleeps on disk wakes with the very devices that it had, and one that is being made is nobody's yet.
CHANGEABLE = frozenset(
    {
        *(InstanceState.RUNNING, InstanceState.STARTING, InstanceState.PAUSED),
        *(InstanceState.STOPPED, InstanceState.FAILED),
    }
)
"""States of an instance in which volumes may come and go."""


@dataclass(frozen=True)
class Volume:
    """A volume as control records it. Limits are operations and megabytes a second; 0 is unlimited."""

    id: str
    project: str
    name: str
    size_gib: int
    file_system: FileSystem
    state: VolumeState
    node: str
    instance_id: str | None  # what it is attached to, or on its way to
    created_at: datetime
    updated_at: datetime
    tags: tuple[str, ...] = ()
    protected: bool = False
    disk_iops: int = 0
    disk_mbps: int = 0
    problem: str = ""  # why it is FAILED
    used_bytes: int | None = None  # of its node's disk, where callers are shown it; None: not known


def room_of(size_gib: int) -> Resources:
    """What a volume of this size takes of a node."""
    return Resources(vcpus=0, memory_mib=0, disk_gib=size_gib, cpu_percent=0)


def device_path(name: str) -> str:
    """Where a guest with udev finds the volume of this name."""
    return f"/dev/disk/by-id/scsi-0Insula_Volume_{name}"


def check_transition(name: str, current: VolumeState, wanted: VolumeState) -> None:
    """Raise :class:`Conflict` unless a volume may go from `current` to `wanted`."""
    allowed = TRANSITIONS[current]
    if wanted not in allowed:
        possible = " or ".join(done for state, done in _DONE.items() if state in allowed)
        raise Conflict(
            f"Volume {name} cannot be {_DONE.get(wanted, wanted)} now",
            why=f"It is {current}; as such it can be {possible}" if possible else f"It is {current}",
            todo=f"Look at it with `insula volume show {name}` and try again when its state fits",
            code="wrong-state",
        )

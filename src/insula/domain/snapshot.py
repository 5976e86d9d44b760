"""Snapshots: what an instance's disk was at one instant, with its guest's memory if that was wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.base.errors import Conflict
from insula.domain.instance import Firmware, Instance, InstanceState, MachineType, Resources


class SnapshotKind(StrEnum):
    DISK = "disk"
    MEMORY = "memory"  # the disk as well, both of the same instant


class Consistency(StrEnum):
    """What a guest finds on the disk of a snapshot when it boots from it."""

    FILESYSTEM = "filesystem"  # the guest had written everything down, and wrote nothing meanwhile
    CRASH = "crash"  # what there is after a power cut
    STOPPED = "stopped"  # no guest ran


class SnapshotState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    FAILED = "failed"  # an operation left it half-way; it can only be deleted


_S = SnapshotState

TRANSITIONS: Mapping[SnapshotState, frozenset[SnapshotState]] = {
    _S.CREATING: frozenset({_S.AVAILABLE, _S.FAILED}),
    _S.AVAILABLE: frozenset({_S.DELETING}),
    _S.DELETING: frozenset({_S.FAILED}),
    _S.FAILED: frozenset({_S.DELETING}),
}
"""Every legal change of state."""

TAKEN_FROM: Mapping[SnapshotKind, frozenset[InstanceState]] = {
    SnapshotKind.DISK: frozenset(
        {InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.STOPPED, InstanceState.FAILED}
    ),
    SnapshotKind.MEMORY: frozenset({InstanceState.RUNNING, InstanceState.PAUSED}),
}
"""States of an instance in which a snapshot of it can be made."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as control records it.

    `parent_id` is the snapshot from which its instance's disk went on when it was made; `instance_id` stays when the
    instance is gone. `image` to `machine_type` are what the instance had then. `consistency` is None until it is made.
    `size_bytes` is what its own files take of the host's disk.
    """

    id: str
    project: str
    name: str
    instance_id: str
    parent_id: str | None
    kind: SnapshotKind
    state: SnapshotState
    node: str
    created_at: datetime
    updated_at: datetime
    image: str
    plan: str
    resources: Resources
    firmware: Firmware
    machine_type: MachineType
    consistency: Consistency | None = None
    size_bytes: int = 0
    tags: tuple[str, ...] = ()
    protected: bool = False
    problem: str = ""  # why it is FAILED


def free_name(instance: str, taken: Collection[str]) -> str:
    """The instance's name with the lowest number that is free."""
    numbers = range(1, len(taken) + 2)
    return next(name for name in (f"{instance[:56]}-{number}" for number in numbers) if name not in taken)


def check_transition(name: str, current: SnapshotState, wanted: SnapshotState) -> None:
    """Raise :class:`Conflict` unless a snapshot may go from `current` to `wanted`."""
    if wanted not in TRANSITIONS[current]:
        raise Conflict(
            f"Snapshot {name} cannot become {wanted} now",
            why=f"It is {current}",
            todo=f"Look at it with `insula snapshot show {name}` and try again when its state fits",
            code="wrong-state",
        )


def check_available(snapshot: Snapshot, use: str) -> None:
    """Raise :class:`Conflict` unless it is whole; `use` says what was to be done with it."""
    if snapshot.state is not SnapshotState.AVAILABLE:
        raise Conflict(
            f"Snapshot {snapshot.name} cannot be {use} now",
            why=f"It is {snapshot.state}",
            todo=f"Look at it with `insula snapshot show {snapshot.name}`",
            code="wrong-state",
        )


def check_fits(snapshot: Snapshot, instance: Instance) -> None:
    """Raise :class:`Conflict` when the instance has another shape than the snapshot's memory."""
    now, then = instance.resources, snapshot.resources
    if (now.vcpus, now.memory_mib) != (then.vcpus, then.memory_mib):
        raise Conflict(
            f"{instance.name} cannot go on from the memory of {snapshot.name}",
            why=f"It had {then.vcpus} processors and {then.memory_mib} MiB then, and has {now.vcpus} and "
            f"{now.memory_mib} MiB now",
            todo="Resize it to what it was, or go back to the disk alone: --disk-only",
            code="snapshot-unfit",
        )

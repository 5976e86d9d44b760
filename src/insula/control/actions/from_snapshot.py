"""What a new instance takes over from the snapshot that it goes on from, and what its wish may change."""

from __future__ import annotations

from dataclasses import replace

from insula.control.actions.faults import Faults
from insula.control.actions.wishes import CreateWish
from insula.control.store import SnapshotUse
from insula.domain.image import DEFAULT_IMAGE
from insula.domain.instance import Firmware, MachineType, Resources
from insula.domain.plan import DEFAULT_PLAN
from insula.domain.snapshot import Snapshot, SnapshotKind


def complete(wish: CreateWish, snapshot: Snapshot | None, faults: Faults) -> CreateWish:
    """The wish with what it leaves open: the defaults, or what the snapshot's instance had. Notes what does not fit."""
    if snapshot is None:
        return replace(wish, image=wish.image or DEFAULT_IMAGE, plan=wish.plan or DEFAULT_PLAN)
    if wish.image not in ("", snapshot.image):
        faults.note("image", f"must be left out: the disk of snapshot {snapshot.name} is based on {snapshot.image}")
    if wish.firmware not in (Firmware.AUTO, snapshot.firmware):
        faults.note("firmware", f"must be left out: what is on the disk starts with {snapshot.firmware}")
    if wish.machine_type not in (MachineType.AUTO, snapshot.machine_type):
        faults.note("machine_type", f"must be left out: it is {snapshot.machine_type} in the snapshot")
    return replace(
        wish,
        image=snapshot.image,
        plan=wish.plan or snapshot.plan,
        firmware=snapshot.firmware,
        machine_type=snapshot.machine_type,
    )


def check_size(wanted: Resources, snapshot: Snapshot, use: SnapshotUse, faults: Faults) -> None:
    """Note a size in which what is in the snapshot has no room, or that its memory does not have."""
    had = snapshot.resources
    if wanted.disk_gib < had.disk_gib:
        faults.note("disk_gib", f"must be at least {had.disk_gib}, the size of the snapshot's disk")
    if not use.with_memory:
        return
    for name in ("vcpus", "memory_mib", "disk_gib"):
        if getattr(wanted, name) != getattr(had, name):
            faults.note(name, f"must be {getattr(had, name)} as in the snapshot, whose memory it goes on from")


def use_of(snapshot: Snapshot, *, disk_only: bool) -> SnapshotUse:
    """How the snapshot is used: with its memory if it has any, unless the disk alone is wanted."""
    return SnapshotUse(snapshot.id, snapshot.kind is SnapshotKind.MEMORY and not disk_only)

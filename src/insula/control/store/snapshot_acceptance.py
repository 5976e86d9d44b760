"""Accepting what shall happen to a snapshot, and what shall go on from one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from insula.base.errors import Conflict
from insula.control.store.instances import find_instance, unknown_instance
from insula.control.store.operations import check_idle
from insula.control.store.snapshots import find_snapshot, insert_snapshot, unknown_snapshot, write_snapshot
from insula.control.store.volume_acceptance import check_no_volumes
from insula.domain.instance import Instance
from insula.domain.operation import Operation
from insula.domain.snapshot import (
    TAKEN_FROM,
    Snapshot,
    SnapshotKind,
    SnapshotState,
    check_available,
    check_fits,
    check_transition,
)

_DETACH = "Detach them first; a snapshot holds an instance's own disk"


@dataclass(frozen=True)
class SnapshotUse:
    """The snapshot that an instance, new or reverted, goes on from; `with_memory` unless its disk alone will do."""

    snapshot_id: str
    with_memory: bool


def add_snapshot(connection: Connection, new: Snapshot) -> Snapshot:
    """Record a new snapshot of the instance that it names, with all that it has of it. Raises :class:`Conflict`."""
    host = check_takeable(connection, new.instance_id, new.project, new.kind)
    full = replace(
        new,
        parent_id=host.snapshot_id,
        node=host.node,
        image=host.image,
        plan=host.plan,
        resources=host.resources,
        firmware=host.firmware,
        machine_type=host.machine_type,
    )
    insert_snapshot(connection, full)
    return full


def check_takeable(connection: Connection, instance_id: str, project: str, kind: SnapshotKind) -> Instance:
    """The instance, if a snapshot of it can be made now. Raises NotFound and :class:`Conflict`."""
    host = find_instance(connection, instance_id)
    if host.project != project:
        raise unknown_instance(host.id, f"in project {project}")
    check_idle(connection, host.id, host.name)
    if host.state not in TAKEN_FROM[kind]:
        states = " or ".join(sorted(TAKEN_FROM[kind]))
        raise Conflict(
            f"Instance {host.name} cannot have a snapshot made of its {kind} now",
            why=f"It is {host.state}, not {states}",
            todo=f"Look at it: insula show {host.name}",
            code="wrong-state",
        )
    check_no_volumes(connection, host, "snapshotted", _DETACH)
    return host


def begin_delete(connection: Connection, operation: Operation) -> None:
    """Put the operation's target into its new state. Raises :class:`Conflict`."""
    found = find_snapshot(connection, operation.target)
    if found.protected:
        raise Conflict(
            f"Snapshot {found.name} is protected and cannot be deleted",
            why="Somebody protected it against exactly this",
            todo=f"Lift the protection first: insula snapshot unprotect {found.name}",
            code="protected",
        )
    check_transition(found.name, found.state, SnapshotState.DELETING)
    write_snapshot(connection, found, {"state": SnapshotState.DELETING, "problem": ""})


def check_revert(connection: Connection, host: Instance, use: SnapshotUse) -> Snapshot:
    """The snapshot, if the instance can go back to it now. Raises :class:`Conflict`."""
    found = _usable(connection, host, use, "reverted to")
    if found.instance_id != host.id:
        raise Conflict(
            f"Snapshot {found.name} is not one of {host.name}",
            why="An instance goes back to what it was itself",
            todo=f"Launch another instance from it: insula launch NAME --snapshot {found.name}",
            code="snapshot-elsewhere",
        )
    check_no_volumes(connection, host, "reverted", _DETACH)
    if use.with_memory:
        check_fits(found, host)
    return found


def check_launch(connection: Connection, new: Instance, use: SnapshotUse) -> Snapshot:
    """The snapshot, if a new instance can go on from it. Raises :class:`Conflict`."""
    return _usable(connection, new, use, "launched from")


def _usable(connection: Connection, instance: Instance, use: SnapshotUse, what_for: str) -> Snapshot:
    found = find_snapshot(connection, use.snapshot_id)
    if found.project != instance.project:
        raise unknown_snapshot(found.id, f"in project {instance.project}")
    check_available(found, what_for)
    if use.with_memory and found.kind is not SnapshotKind.MEMORY:
        raise Conflict(
            f"Snapshot {found.name} has no memory",
            why="It was made of the disk alone",
            todo="Boot from its disk",
            code="snapshot-without-memory",
        )
    return found

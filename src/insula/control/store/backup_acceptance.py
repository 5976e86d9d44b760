"""Accepting what shall happen to a backup or a backup store, and what shall be made from a backup."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict, InvalidInput
from insula.control.store.backup_stores import usable_store
from insula.control.store.backups import find_backup, insert_backup, unknown_backup, write_backup
from insula.control.store.instances import find_instance, unknown_instance
from insula.control.store.operations import check_idle
from insula.control.store.schema import backup, backup_schedule
from insula.domain.backup import Backup, BackupState, check_available, check_transition
from insula.domain.operation import Operation
from insula.domain.snapshot import TAKEN_FROM, SnapshotKind


@dataclass(frozen=True)
class Drilling:
    """An instance of this id is made of the operation's backup for a while; it is in no list."""

    instance_id: str


def add_backup(connection: Connection, operation: Operation, new: Backup) -> Operation:
    """Record a new backup of the instance that it names, with all that it has of it. Raises :class:`Conflict`.

    A scheduled one is noted with the schedule, which thereby asks for it once.
    """
    host = find_instance(connection, new.instance_id)
    if host.project != new.project:
        raise unknown_instance(host.id, f"in project {new.project}")
    usable_store(connection, new.store_id, new.project)
    check_idle(connection, host.id, host.name)
    if host.state not in TAKEN_FROM[SnapshotKind.DISK]:
        raise Conflict(
            f"Instance {host.name} cannot be backed up now",
            why=f"It is {host.state}, not {' or '.join(sorted(TAKEN_FROM[SnapshotKind.DISK]))}",
            todo=f"Look at it: insula show {host.name}",
            code="wrong-state",
        )
    _check_none_is_made(connection, host.id, host.name)
    full = replace(
        new,
        instance_name=host.name,
        node=host.node,
        image=host.image,
        plan=host.plan,
        resources=host.resources,
        firmware=host.firmware,
        machine_type=host.machine_type,
    )
    insert_backup(connection, full)
    if new.scheduled:
        same = backup_schedule.update().where(backup_schedule.c.instance_id == host.id)
        connection.execute(same.values(operation_id=operation.id))
    # The instance itself is not worked on: a long backup must not keep people from starting and stopping it.
    facts = {"backup": msgspec.to_builtins(full), "store_id": full.store_id}
    return replace(operation, params={**operation.params, **facts})


def begin_delete(connection: Connection, operation: Operation) -> Operation:
    """Put the operation's target into its new state. Raises :class:`Conflict`."""
    found = find_backup(connection, operation.target)
    if found.protected:
        raise Conflict(
            f"Backup {found.name} is protected and cannot be deleted",
            why="Somebody protected it against exactly this",
            todo=f"Lift the protection first: insula backup unprotect {found.name}",
            code="protected",
        )
    check_transition(found.name, found.state, BackupState.DELETING)
    write_backup(connection, found, {"state": BackupState.DELETING, "problem": ""})
    return replace(operation, params={**operation.params, "store_id": found.store_id})


def begin_drill(connection: Connection, operation: Operation, wanted: Drilling) -> Operation:
    """Check that it can be restored for a while; the parameters get its record. Raises :class:`Conflict`."""
    found = usable_backup(connection, operation.target, operation.project, "tried")
    facts = {**_facts(found), "instance_id": wanted.instance_id, "resources": msgspec.to_builtins(found.resources)}
    return replace(operation, params={**operation.params, **facts})


def begin_store_work(connection: Connection, operation: Operation) -> Operation:
    """Check that a store can be worked on as a whole. Raises NotFound and :class:`Conflict`."""
    usable_store(connection, operation.target, operation.project)
    return operation


def restoring(connection: Connection, operation: Operation, backup_id: str, disk_gib: int) -> Operation:
    """The operation with what it restores onto a disk of that size. Raises NotFound, Conflict and InvalidInput."""
    found = usable_backup(connection, backup_id, operation.project, "restored")
    if disk_gib < found.size_gib:
        raise InvalidInput(
            f"{disk_gib} GiB are too few for backup {found.name}",
            why=f"What was backed up has {found.size_gib} GiB",
            todo="Choose a size with at least that",
            code="invalid-disk-size",
            fields={"disk_gib": f"must be at least {found.size_gib}"},
        )
    return replace(operation, params={**operation.params, **_facts(found), "backup_id": found.id})


def usable_backup(connection: Connection, backup_id: str, project: str, use: str) -> Backup:
    """The backup, if it is whole and its store can be reached; `use` says what is to be done with it."""
    found = find_backup(connection, backup_id)
    if found.project != project:
        raise unknown_backup(backup_id, f"in project {project}")
    check_available(found, use)
    usable_store(connection, found.store_id, project)
    return found


def _facts(found: Backup) -> dict[str, object]:
    record = msgspec.to_builtins(replace(found, drills=()))
    return {"backup": record, "store_id": found.store_id, "node": found.node}


def _check_none_is_made(connection: Connection, instance_id: str, name: str) -> None:
    same = sa.and_(backup.c.instance_id == instance_id, backup.c.state == BackupState.CREATING)
    row = connection.execute(backup.select().where(same)).first()
    if row is not None:
        raise Conflict(
            f"A backup of {name} is being made already",
            why=f"Backup {row.name} is not ready yet",
            todo="Wait for it: insula operation list",
            code="backup-in-progress",
        )

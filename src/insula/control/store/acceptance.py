"""Accepting an operation: the one transaction that makes a promise to a user.

It writes the new instance or the change of state, the operation, the reserved ports and the audit line, or nothing.
Acceptances exclude each other, so that two creates at once cannot both get the last name, port or memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict
from insula.control.store import ports
from insula.control.store.aliases import number_of
from insula.control.store.audit import AuditLine, append_line
from insula.control.store.backup_acceptance import (
    Drilling,
    add_backup,
    begin_drill,
    begin_store_work,
    restoring,
)
from insula.control.store.backup_acceptance import (
    begin_delete as begin_delete_backup,
)
from insula.control.store.engine import Database
from insula.control.store.image_acceptance import (
    Publishing,
    check_wanted_image,
    publish,
)
from insula.control.store.image_acceptance import (
    begin_delete as begin_delete_image,
)
from insula.control.store.images import check_image
from insula.control.store.instances import check_name_free, find_instance, insert_instance, write_fields
from insula.control.store.networks import place_ports
from insula.control.store.operations import check_idle, insert_operation
from insula.control.store.projects import find_project
from insula.control.store.schema import instance, operation, volume
from insula.control.store.snapshot_acceptance import (
    SnapshotUse,
    add_snapshot,
    begin_delete,
    check_launch,
    check_revert,
)
from insula.control.store.snapshots import snapshots_of_image
from insula.control.store.volume_acceptance import (
    Place,
    VolumeChange,
    add_volume,
    change_volume,
    check_no_volumes,
)
from insula.domain.backup import Backup
from insula.domain.capacity import Claim
from insula.domain.instance import Instance, InstanceState, Resources, check_transition
from insula.domain.operation import ACTIVE_STATES, Operation, Verb
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume, room_of

BEFORE = "state_before"
"""The parameter of an operation that keeps the state to which its undo returns the instance."""


@dataclass(frozen=True)
class Acceptance:
    """What is to be accepted.

    At most one of `instance`, `volume`, `snapshot`, `backup` and `publishing` (new), `transition` and `volume_change`
    (of the target); none of them for images and backup stores, and for a snapshot or backup that is deleted or tried.

    `children` are new instances that the change of the target makes; the operation's parameter of that name gets their
    records as they are accepted.

    `use` names the snapshot that the new or reverted instance goes on from, `backup_id` the backup that the new
    instance or volume is made from; the operation's parameters get its record. `drilling` is the instance of a drill.

    `place` chooses the node of each new instance, or judges whether a resized one fits; a resize's new resources are in
    `operation.params["resources"]`. `unused_image` refuses while an instance was made from that image. `lease_until`
    refuses when the target's lease does not end then any more.
    """

    operation: Operation
    instance: Instance | None = None
    transition: InstanceState | None = None
    place: Place | None = None
    audit: AuditLine | None = None
    unused_image: str = ""
    lease_until: datetime | None = None
    children: tuple[Instance, ...] = ()
    volume: Volume | None = None
    volume_change: VolumeChange | None = None
    snapshot: Snapshot | None = None
    use: SnapshotUse | None = None
    publishing: Publishing | None = None
    backup: Backup | None = None
    backup_id: str = ""
    drilling: Drilling | None = None


def accept(database: Database, connection: Connection, wanted: Acceptance) -> Operation:
    """See :class:`Acceptance`. Raises Conflict, NotFound and CapacityExceeded."""
    database.lock(connection, "accept")
    new = wanted.operation
    if wanted.instance is not None:
        new = _add_target(connection, wanted, wanted.instance)
    elif wanted.volume is not None:
        new = _add_volume(connection, new, wanted.volume, wanted.place)
        if wanted.backup_id:
            new = restoring(connection, new, wanted.backup_id, wanted.volume.size_gib)
    elif wanted.backup is not None:
        new = add_backup(connection, new, wanted.backup)
    elif wanted.publishing is not None:
        new = publish(connection, new, wanted.publishing)
    elif wanted.snapshot is not None:
        record = add_snapshot(connection, wanted.snapshot)
        facts = {"snapshot": msgspec.to_builtins(record), "instance_id": record.instance_id}
        new = replace(new, params={**new.params, **facts})
    else:
        check_idle(connection, new.target, new.target_name)
        new = _change_target(connection, wanted)
    if wanted.children:
        added = [_add_instance(connection, child, wanted.place) for child in wanted.children]
        new = replace(new, params={**new.params, "children": msgspec.to_builtins(added)})
    if wanted.unused_image:
        _check_unused(connection, wanted.unused_image)
    insert_operation(connection, new, wanted.instance)
    if wanted.audit is not None:
        append_line(database, connection, wanted.audit)
    return new


def _add_target(connection: Connection, wanted: Acceptance, target: Instance) -> Operation:
    added = _add_instance(connection, target, wanted.place)
    if wanted.backup_id:
        return restoring(connection, wanted.operation, wanted.backup_id, added.resources.disk_gib)
    if wanted.use is None:
        check_image(connection, added.image, added.project)
        return wanted.operation
    return _using(wanted.operation, wanted.use, check_launch(connection, added, wanted.use))


def _change_target(connection: Connection, wanted: Acceptance) -> Operation:
    new = wanted.operation
    if wanted.use is not None:
        host = find_instance(connection, new.target)
        new = _using(new, wanted.use, check_revert(connection, host, wanted.use))
    if wanted.transition is not None:
        before = _change_instance(connection, wanted, wanted.transition)
        new = replace(new, params={**new.params, BEFORE: before})
    if wanted.volume_change is not None:
        if wanted.place is not None:
            wanted.place([claim for claim in claims(connection) if claim.owner_id != new.target])
        new = change_volume(connection, new, wanted.volume_change, BEFORE)
    if new.verb is Verb.DELETE_SNAPSHOT:
        begin_delete(connection, new)
    if new.verb is Verb.DELETE_IMAGE:
        new = begin_delete_image(connection, new)
    return _change_backup(connection, wanted, new)


def _change_backup(connection: Connection, wanted: Acceptance, new: Operation) -> Operation:
    if new.verb is Verb.DELETE_BACKUP:
        return begin_delete_backup(connection, new)
    if new.verb.noun == "store":
        return begin_store_work(connection, new)
    if wanted.drilling is not None:
        new = begin_drill(connection, new, wanted.drilling)
        if wanted.place is not None:
            wanted.place(claims(connection))
    return new


def claims(connection: Connection) -> list[Claim]:
    """What every instance and volume takes, with the larger of old and new while one is resized; and drills."""
    resizing = sa.select(operation.c.target, operation.c.params).where(
        operation.c.verb.in_((Verb.RESIZE_INSTANCE, Verb.GROW_VOLUME)), operation.c.state.in_(ACTIVE_STATES)
    )
    drilled = sa.select(operation.c.params).where(
        operation.c.verb == Verb.DRILL_BACKUP, operation.c.state.in_(ACTIVE_STATES)
    )
    wanted = {row.target: row.params for row in connection.execute(resizing)}
    rows = connection.execute(sa.select(instance.c.id, instance.c.node, instance.c.resources))
    volumes = connection.execute(sa.select(volume.c.id, volume.c.node, volume.c.size_gib))
    return [
        *(Claim(row.id, row.node, _larger(row.resources, wanted.get(row.id))) for row in rows),
        *(Claim(row.id, row.node, room_of(max(row.size_gib, _wanted_gib(wanted.get(row.id))))) for row in volumes),
        *(_drill_claim(params) for params in connection.execute(drilled).scalars()),
    ]


def _drill_claim(params: Mapping[str, Any]) -> Claim:
    resources = msgspec.convert(params["resources"], Resources)
    return Claim(str(params["instance_id"]), str(params["node"]), resources)


def _wanted_gib(params: Mapping[str, Any] | None) -> int:
    return int(params["size_gib"]) if params else 0


def _larger(held: Resources, params: Mapping[str, Any] | None) -> Resources:
    if not params or "resources" not in params:
        return held
    new = msgspec.convert(params["resources"], Resources)
    return replace(
        held,
        cpu_percent=max(held.cpu_percent, new.cpu_percent),
        memory_mib=max(held.memory_mib, new.memory_mib),
        disk_gib=max(held.disk_gib, new.disk_gib),
    )


def _add_instance(connection: Connection, new: Instance, place: Place | None) -> Instance:
    find_project(connection, new.project)
    check_name_free(connection, new.project, new.name)
    node = place(claims(connection)) if place is not None else new.node
    new = place_ports(connection, replace(new, node=node, number=number_of(connection, new.id)))
    insert_instance(connection, new)
    forwards = ports.reserve(connection, node, new.id, new.forwards)
    if forwards != new.forwards:
        connection.execute(instance.update().where(instance.c.id == new.id).values(forwards=forwards))
    return replace(new, node=node, forwards=forwards)


def _using(operation: Operation, use: SnapshotUse, found: Snapshot) -> Operation:
    facts = {"snapshot_id": found.id, "with_memory": use.with_memory, "snapshot": msgspec.to_builtins(found)}
    return replace(operation, params={**operation.params, **facts})


def _add_volume(connection: Connection, operation: Operation, new: Volume, place: Place | None) -> Operation:
    node = place(claims(connection)) if place is not None else new.node
    placed = add_volume(connection, new, node)
    record = msgspec.to_builtins(placed)
    return replace(operation, params={**operation.params, "volume": record, "instance_id": placed.instance_id})


def _change_instance(connection: Connection, wanted: Acceptance, state: InstanceState) -> InstanceState:
    found = find_instance(connection, wanted.operation.target)
    if wanted.lease_until not in (None, found.lease_until):
        raise Conflict(
            f"The lease of instance {found.name} was renewed",
            why="That happened before it could be deleted",
            todo="Leave it alone; it is deleted when its new lease ends",
            code="lease-renewed",
        )
    if found.protected and state in {InstanceState.DELETING, InstanceState.REBUILDING, InstanceState.REVERTING}:
        raise Conflict(
            f"Instance {found.name} is protected",
            why="A protected instance cannot be deleted, rebuilt or reverted: all of it loses what is on its disk",
            todo="Take its protection off first",
            code="protected",
        )
    check_transition(found.name, found.state, state)
    check_wanted_image(connection, wanted.operation, found)
    if state is InstanceState.FORKING:
        todo = "Detach them first; a fork has the memory of a guest that would write to the same volumes"
        check_no_volumes(connection, found, "forked", todo)
    if wanted.place is not None and not wanted.children:
        wanted.place([claim for claim in claims(connection) if claim.owner_id != found.id])
    write_fields(connection, found, {"state": state})
    return found.state


def _check_unused(connection: Connection, image: str) -> None:
    names = connection.execute(sa.select(instance.c.name).where(instance.c.image == image).limit(4)).scalars().all()
    if names:
        shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
        raise Conflict(
            f"Image {image} is in use",
            why=f"The disks of {shown} are based on it",
            todo="Delete or rebuild these instances first",
            code="image-in-use",
        )
    if snapshots := snapshots_of_image(connection, image):
        raise Conflict(
            f"Image {image} is in use",
            why=f"The disks of snapshots are based on it: {', '.join(snapshots[:3])}",
            todo="Delete these snapshots first",
            code="image-in-use",
        )

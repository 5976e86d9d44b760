"""Accepting what shall become of published images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
from sqlalchemy.engine import Connection

from insula.control.store.images import add_image, begin_delete_image, check_image
from insula.control.store.operations import check_idle
from insula.control.store.snapshot_acceptance import check_takeable
from insula.control.store.snapshots import find_snapshot, unknown_snapshot
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance
from insula.domain.operation import Operation, Verb
from insula.domain.published import PublishedImage
from insula.domain.snapshot import SnapshotKind, check_available


@dataclass(frozen=True)
class Publishing:
    """A new image, of a snapshot that there is, or of an instance: then a snapshot of that id is made for a while."""

    image: PublishedImage
    snapshot_id: str
    instance_id: str = ""


def publish(connection: Connection, operation: Operation, wanted: Publishing) -> Operation:
    """Record the image; the operation's parameters get its record. Raises NotFound and Conflict."""
    new = wanted.image
    if wanted.instance_id:
        host = check_takeable(connection, wanted.instance_id, new.project, SnapshotKind.DISK)
        node, base = host.node, host.image
    else:
        source = find_snapshot(connection, wanted.snapshot_id)
        if source.project != new.project:
            raise unknown_snapshot(source.id, f"in project {new.project}")
        check_idle(connection, source.id, source.name)
        check_available(source, "published")
        node, base = source.node, source.image
    record = add_image(connection, replace(new, node=node, base=base))
    facts = {
        "node": node,
        "image": msgspec.to_builtins(record),
        "snapshot_id": wanted.snapshot_id,
        "instance_id": wanted.instance_id or None,
    }
    return replace(operation, params={**operation.params, **facts})


def begin_delete(connection: Connection, operation: Operation) -> Operation:
    """Take a published image from everybody; the operation's parameters say whether its data goes at once."""
    if not is_id(operation.target, Kind.IMAGE):
        return operation
    is_unused = begin_delete_image(connection, operation.target, operation.project)
    return replace(operation, params={**operation.params, "unused": is_unused})


def check_wanted_image(connection: Connection, operation: Operation, host: Instance) -> None:
    """Raise :class:`NotFound` when an instance is to be rebuilt from what was deleted or unshared meanwhile."""
    wanted = str(operation.params.get("image") or host.image)
    if operation.verb is Verb.REBUILD_INSTANCE and wanted != host.image:
        check_image(connection, wanted, host.project)

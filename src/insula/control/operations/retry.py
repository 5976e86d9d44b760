"""Retrying: a failed operation is accepted once more, as a new one that names the old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.scheduler import Scheduler
from insula.control.store import BEFORE, Acceptance, AuditLine, Drilling, Publishing, SnapshotUse, Store, VolumeChange
from insula.domain.backup import Backup, BackupState
from insula.domain.fork import children_of
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Identity, Instance, InstanceState, Resources, lease_end
from insula.domain.operation import Operation, OperationState, Verb, new_operation
from insula.domain.project_network import port_wish
from insula.domain.published import PublishedImage, PublishedState
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.domain.volume import Volume, VolumeState, room_of

VOLUME_STATES: Mapping[Verb, VolumeState] = {
    Verb.ATTACH_VOLUME: VolumeState.ATTACHING,
    Verb.DETACH_VOLUME: VolumeState.DETACHING,
    Verb.GROW_VOLUME: VolumeState.GROWING,
    Verb.LIMIT_VOLUME: VolumeState.LIMITING,
    Verb.DELETE_VOLUME: VolumeState.DELETING,
}
"""The state that each verb puts its volume into while it works."""

TRANSITIONS: Mapping[Verb, InstanceState] = {
    Verb.START_INSTANCE: InstanceState.STARTING,
    Verb.STOP_INSTANCE: InstanceState.STOPPING,
    Verb.REBOOT_INSTANCE: InstanceState.REBOOTING,
    Verb.PAUSE_INSTANCE: InstanceState.PAUSING,
    Verb.RESUME_INSTANCE: InstanceState.RESUMING,
    Verb.HIBERNATE_INSTANCE: InstanceState.HIBERNATING,
    Verb.FORK_INSTANCE: InstanceState.FORKING,
    Verb.RESIZE_INSTANCE: InstanceState.RESIZING,
    Verb.REBUILD_INSTANCE: InstanceState.REBUILDING,
    Verb.REVERT_INSTANCE: InstanceState.REVERTING,
    Verb.DELETE_INSTANCE: InstanceState.DELETING,
}
"""The state that each verb puts its instance into while it works."""

_RETRYABLE = frozenset({OperationState.FAILED, OperationState.CANCELLED, OperationState.STUCK})


async def retry(
    store: Store, scheduler: Scheduler, old: Operation, requested_by: str, audit: AuditLine | None
) -> Operation:
    """Accept `old` again. Raises what accepting raises, and :class:`Conflict` unless it failed."""
    if old.state not in _RETRYABLE:
        raise Conflict(
            f"Operation {old.id} cannot be retried",
            why=f"It is {old.state}; only failed, cancelled and stuck ones can",
            todo=f"Look at it with `insula operation show {old.id}`",
            code="not-retryable",
        )
    params = {name: value for name, value in old.params.items() if name != BEFORE}
    target = (old.target, old.target_name)
    new = new_operation(
        old.verb, target, project=old.project, requested_by=requested_by, params=params, retry_of=old.id
    )
    if old.verb is Verb.CREATE_INSTANCE:
        return await store.accept(replace(await _create_again(store, scheduler, new), audit=audit))
    if old.verb is Verb.CREATE_VOLUME:
        return await store.accept(replace(await _create_volume_again(store, scheduler, new), audit=audit))
    if old.verb.noun == "volume":
        return await store.accept(replace(await _change_volume_again(store, scheduler, new), audit=audit))
    if old.verb is Verb.PUBLISH_IMAGE:
        return await store.accept(replace(_publish_again(new), audit=audit))
    if old.verb.noun == "backup":
        return await store.accept(replace(await _backup_again(store, scheduler, new), audit=audit))
    if old.verb.noun == "snapshot":
        return await store.accept(replace(_snapshot_again(new), audit=audit))
    place, children = None, tuple[Instance, ...]()
    if old.verb is Verb.FORK_INSTANCE:
        parent = await store.instances.get(old.project, old.target)
        names = [child["name"] for child in params.pop("children")]
        children = children_of(parent, names, Identity(params["identity"]))
        place = await scheduler.placer(parent.resources, parent.node)
    if old.verb is Verb.RESIZE_INSTANCE:
        instance = await store.instances.get(old.project, old.target)
        place = await scheduler.placer(msgspec.convert(params["resources"], Resources), instance.node)
    unused = old.target if old.verb is Verb.DELETE_IMAGE else ""
    transition = TRANSITIONS.get(old.verb)
    return await store.accept(
        Acceptance(
            new,
            transition=transition,
            place=place,
            audit=audit,
            unused_image=unused,
            children=children,
            use=_use_of(new),
        )
    )


def _use_of(new: Operation) -> SnapshotUse | None:
    snapshot_id = new.params.get("snapshot_id")
    return SnapshotUse(str(snapshot_id), bool(new.params["with_memory"])) if snapshot_id else None


def _snapshot_again(new: Operation) -> Acceptance:
    if new.verb is Verb.DELETE_SNAPSHOT:
        return Acceptance(new)
    now = now_utc()
    record = msgspec.convert(new.params["snapshot"], Snapshot)
    again = replace(record, id=new_id(Kind.SNAPSHOT), state=SnapshotState.CREATING, created_at=now, updated_at=now)
    return Acceptance(replace(new, target=again.id, params={}), snapshot=again)


async def _backup_again(store: Store, scheduler: Scheduler, new: Operation) -> Acceptance:
    if new.verb is Verb.DELETE_BACKUP:
        return Acceptance(new)
    record = msgspec.convert(new.params["backup"], Backup)
    if new.verb is Verb.DRILL_BACKUP:
        place = await scheduler.placer(record.resources, record.node)
        return Acceptance(new, drilling=Drilling(new_id(Kind.INSTANCE)), place=place)
    now = now_utc()
    # Who tries again does so for himself: the schedule has its own tries.
    again = replace(
        record, id=new_id(Kind.BACKUP), state=BackupState.CREATING, created_at=now, updated_at=now, scheduled=False
    )
    return Acceptance(replace(new, target=again.id, params={}), backup=again)


def _publish_again(new: Operation) -> Acceptance:
    now = now_utc()
    record = msgspec.convert(new.params["image"], PublishedImage)
    again = replace(
        record, id=new_id(Kind.IMAGE), state=PublishedState.PUBLISHING, created_at=now, updated_at=now, problem=""
    )
    host = str(new.params.get("instance_id") or "")
    source = new_id(Kind.SNAPSHOT) if host else str(new.params["snapshot_id"])
    return Acceptance(replace(new, target=again.id, params={}), publishing=Publishing(again, source, host))


async def _create_volume_again(store: Store, scheduler: Scheduler, new: Operation) -> Acceptance:
    now = now_utc()
    record = msgspec.convert(new.params["volume"], Volume)
    again = replace(record, id=new_id(Kind.VOLUME), state=VolumeState.CREATING, created_at=now, updated_at=now)
    place = await scheduler.placer(room_of(again.size_gib), again.node if again.instance_id else "")
    backup_id = str(new.params.get("backup_id") or "")
    params = {"damaged": True} if new.params.get("damaged") else {}
    return Acceptance(replace(new, target=again.id, params=params), volume=again, place=place, backup_id=backup_id)


async def _change_volume_again(store: Store, scheduler: Scheduler, new: Operation) -> Acceptance:
    params = {name: value for name, value in new.params.items() if name not in {"instance_id", "from_instance_id"}}
    is_attach = new.verb is Verb.ATTACH_VOLUME
    change = VolumeChange(
        VOLUME_STATES[new.verb],
        attach_to=str(new.params["instance_id"]) if is_attach else "",
        moves=is_attach and bool(new.params.get("from_instance_id")),
    )
    place = None
    if new.verb is Verb.GROW_VOLUME:
        volume = await store.volumes.get(new.project, new.target)
        place = await scheduler.placer(room_of(int(params["size_gib"])), volume.node)
    return Acceptance(replace(new, params=params), volume_change=change, place=place)


async def _create_again(store: Store, scheduler: Scheduler, new: Operation) -> Acceptance:
    origin = await store.operations.origin(new.retry_of)
    if origin is None:
        raise NotFound(
            f"What {new.target_name} was to be is not known any more",
            why="The operation is too old",
            todo=f"Create it anew: insula create {new.target_name}",
            code="unknown-instance",
        )
    if await store.instances.find(origin.id) is not None:
        raise Conflict(
            f"Instance {origin.name} is still there",
            why="It was kept after its creation failed",
            todo=f"Delete it first: insula delete {origin.name}",
            code="name-taken",
        )
    now = now_utc()
    # New ids, so that nothing of the first try can be mistaken for it.
    instance_id = new_id(Kind.INSTANCE)
    again = replace(
        origin,
        id=instance_id,
        ports=tuple(port_wish(instance_id, port.mac, port.network_id) for port in origin.ports),
        state=InstanceState.CREATING,
        created_at=now,
        updated_at=now,
        lease_until=lease_end(origin.lease_s),
    )
    backup_id = str(new.params.get("backup_id") or "")
    place = await scheduler.placer(again.resources, again.node)
    made = replace(new, target=again.id)
    return Acceptance(made, instance=again, place=place, use=_use_of(new), backup_id=backup_id)

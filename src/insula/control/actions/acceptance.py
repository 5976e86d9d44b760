"""How a wish becomes a durable operation: one transaction, then the engine is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from insula.control.actions.caller import Caller, audit_line
from insula.control.actions.ports import Engine, Scheduler
from insula.control.store import Acceptance, Drilling, Place, Publishing, SnapshotUse, Store, VolumeChange
from insula.domain.backup import Backup, BackupStore
from insula.domain.ids import Kind, new_id
from insula.domain.image import Image
from insula.domain.instance import Identity, Instance, InstanceState, Resources
from insula.domain.operation import Operation, Verb, new_operation
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume, room_of

_LONGEST_NAME = 63


def action_of(verb: Verb) -> str:
    """The action that asks for this: `instances.start` for START_INSTANCE."""
    doing, _, noun = verb.partition("_")
    return f"{noun}s.{doing}"


class Acceptor:
    """Writes accepted operations, with their line in the audit log, and hands them to the engine."""

    def __init__(self, store: Store, engine: Engine, scheduler: Scheduler) -> None:
        self._store = store
        self._engine = engine
        self._scheduler = scheduler

    async def placer(self, wanted: Resources, node: str) -> Place:
        """What decides, inside the accepting transaction, whether `wanted` fits on `node`."""
        return await self._scheduler.placer(wanted, node)

    async def new_instance(
        self,
        caller: Caller,
        instance: Instance,
        params: Mapping[str, Any],
        *,
        use: SnapshotUse | None = None,
        backup_id: str = "",
    ) -> Operation:
        """Record `instance` and the operation that creates it, on its own node if it names one.

        It may come from a snapshot or a backup. Raises Conflict (name, port, snapshot, backup) and CapacityExceeded.
        """
        operation = _operation(caller, Verb.CREATE_INSTANCE, (instance.id, instance.name), params)
        place = await self._scheduler.placer(instance.resources, instance.node)
        return await self._accept(
            caller, Acceptance(operation, instance=instance, place=place, use=use, backup_id=backup_id)
        )

    async def change(
        self,
        caller: Caller,
        instance: Instance,
        verb: Verb,
        becomes: InstanceState,
        *,
        params: Mapping[str, Any] | None = None,
        place: Place | None = None,
        use: SnapshotUse | None = None,
    ) -> Operation:
        """Record that `instance` changes and the operation that does it. Raises Conflict when its state forbids it."""
        operation = _operation(caller, verb, (instance.id, instance.name), params or {})
        return await self._accept(caller, Acceptance(operation, transition=becomes, place=place, use=use))

    async def children(
        self, caller: Caller, parent: Instance, children: tuple[Instance, ...], identity: Identity
    ) -> Operation:
        """Record `children` of an instance and the operation that makes them. Raises Conflict and CapacityExceeded."""
        operation = _operation(caller, Verb.FORK_INSTANCE, (parent.id, parent.name), {"identity": identity.value})
        place = await self._scheduler.placer(parent.resources, parent.node)
        wanted = Acceptance(operation, transition=InstanceState.FORKING, place=place, children=children)
        return await self._accept(caller, wanted)

    async def image(
        self, caller: Caller, image: Image, verb: Verb, *, params: Mapping[str, Any] | None = None, unused: bool = False
    ) -> Operation:
        """Record the operation on an image; `unused` refuses while instances are based on it."""
        target = (image.key, image.reference if len(image.reference) <= _LONGEST_NAME else image.name)
        return await self.named_image(caller, target, verb, params=params, unused=unused)

    async def named_image(
        self,
        caller: Caller,
        target: tuple[str, str],
        verb: Verb,
        *,
        params: Mapping[str, Any] | None = None,
        unused: bool = False,
    ) -> Operation:
        """The same by what the node knows it by, and by its name."""
        operation = _operation(caller, verb, target, {"name": target[1], **(params or {})})
        return await self._accept(caller, Acceptance(operation, unused_image=target[0] if unused else ""))

    async def publish(self, caller: Caller, publishing: Publishing) -> Operation:
        """Record a new version of an image and the operation that makes it. Raises Conflict (instance, snapshot)."""
        new = publishing.image
        operation = _operation(caller, Verb.PUBLISH_IMAGE, (new.id, new.name), {})
        return await self._accept(caller, Acceptance(operation, publishing=publishing))

    async def new_volume(
        self, caller: Caller, volume: Volume, backup_id: str = "", params: Mapping[str, Any] | None = None
    ) -> Operation:
        """Record `volume` and the operation that makes it, from a backup if one is named.

        Raises Conflict (name, instance, backup) and CapacityExceeded.
        """
        operation = _operation(caller, Verb.CREATE_VOLUME, (volume.id, volume.name), params or {})
        place = await self._scheduler.placer(room_of(volume.size_gib), volume.node)
        return await self._accept(caller, Acceptance(operation, volume=volume, place=place, backup_id=backup_id))

    async def volume(
        self,
        caller: Caller,
        volume: Volume,
        verb: Verb,
        change: VolumeChange,
        *,
        params: Mapping[str, Any] | None = None,
        place: Place | None = None,
    ) -> Operation:
        """Record that `volume` changes and the operation that does it. Raises Conflict when that cannot be now."""
        operation = _operation(caller, verb, (volume.id, volume.name), params or {})
        return await self._accept(caller, Acceptance(operation, volume_change=change, place=place))

    async def new_snapshot(self, caller: Caller, snapshot: Snapshot) -> Operation:
        """Record `snapshot` and the operation that makes it. Raises Conflict (name, instance)."""
        operation = _operation(caller, Verb.CREATE_SNAPSHOT, (snapshot.id, snapshot.name), {})
        return await self._accept(caller, Acceptance(operation, snapshot=snapshot))

    async def delete_snapshot(self, caller: Caller, snapshot: Snapshot) -> Operation:
        """Record that `snapshot` goes and the operation that removes it. Raises Conflict when that cannot be now."""
        operation = _operation(caller, Verb.DELETE_SNAPSHOT, (snapshot.id, snapshot.name), {})
        return await self._accept(caller, Acceptance(operation))

    async def new_backup(self, caller: Caller, backup: Backup) -> Operation:
        """Record `backup` and the operation that makes it. Raises Conflict (name, instance, store)."""
        operation = _operation(caller, Verb.CREATE_BACKUP, (backup.id, backup.name), {})
        return await self._accept(caller, Acceptance(operation, backup=backup))

    async def delete_backup(self, caller: Caller, backup: Backup) -> Operation:
        """Record that `backup` goes and the operation that removes it. Raises Conflict when that cannot be now."""
        operation = _operation(caller, Verb.DELETE_BACKUP, (backup.id, backup.name), {})
        return await self._accept(caller, Acceptance(operation))

    async def drill(self, caller: Caller, backup: Backup, command: str) -> Operation:
        """Record the operation that tries a backup. Raises Conflict and CapacityExceeded."""
        params = {"command": command}
        operation = _operation(caller, Verb.DRILL_BACKUP, (backup.id, backup.name), params)
        place = await self._scheduler.placer(backup.resources, backup.node)
        drilling = Drilling(new_id(Kind.INSTANCE))
        return await self._accept(caller, Acceptance(operation, drilling=drilling, place=place))

    async def store_work(self, caller: Caller, store: BackupStore, verb: Verb, params: Mapping[str, Any]) -> Operation:
        """Record an operation on a backup store. Raises Conflict while others work in it."""
        return await self._accept(caller, Acceptance(_operation(caller, verb, (store.id, store.name), params)))

    async def _accept(self, caller: Caller, wanted: Acceptance) -> Operation:
        operation = wanted.operation
        line = audit_line(caller, action_of(operation.verb), operation.target, f"accepted: {operation.id}")
        accepted = await self._store.accept(replace(wanted, audit=line))
        # From here on the record is the truth: should we die before the engine knows, it finds the record at start.
        await self._engine.submit(accepted.id)
        return accepted


def _operation(caller: Caller, verb: Verb, target: tuple[str, str], params: Mapping[str, Any]) -> Operation:
    return new_operation(verb, target, project=caller.project, requested_by=caller.identity.subject, params=params)

"""Snapshots: everything that may be asked of them. An instance goes back to one by an action of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from insula.base.clock import now_utc
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.store import SnapshotFilter, Store
from insula.domain.access import Scope
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name, check_tags
from insula.domain.operation import Operation
from insula.domain.snapshot import Snapshot, SnapshotKind, SnapshotState, free_name

ANY_SNAPSHOT = SnapshotFilter()


@dataclass(frozen=True)
class SnapshotWish:
    """A new snapshot of `instance` (name or id); an empty `name` is the instance's with a number."""

    instance: str
    name: str = ""
    kind: SnapshotKind = SnapshotKind.DISK
    tags: tuple[str, ...] = ()
    protected: bool = False


class SnapshotActions:
    """`snapshot` and `instance` are names or ids everywhere."""

    def __init__(self, store: Store, acceptor: Acceptor) -> None:
        self.store = store
        self._acceptor = acceptor

    @action("snapshots.list", Scope.SNAPSHOTS_READ, audit=Audit.NEVER)
    async def list(
        self,
        caller: Caller,
        *,
        after: str = "",
        limit: int = 100,
        where: SnapshotFilter = ANY_SNAPSHOT,
        instance: str = "",
    ) -> Page[Snapshot]:
        """Oldest first, only those of an `instance` if one is named; `after` is the last id of the page before.

        Those of an instance that is gone are found by its id.
        """
        if instance:
            known = await self.store.instances.list(caller.project, limit=sys.maxsize)
            host = next((each.id for each in known if each.name == instance), instance)
            where = replace(where, instance_id=host)
        found = await self.store.snapshots.list(caller.project, after=after, limit=limit + 1, where=where)
        items = tuple(found[:limit])
        return Page(items, items[-1].id if len(found) > limit else None)

    @action("snapshots.show", Scope.SNAPSHOTS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, snapshot: str) -> Snapshot:
        return await self.store.snapshots.get(caller.project, snapshot)

    @action("snapshots.create", Scope.SNAPSHOTS_WRITE, audit=Audit.ACCEPTED)
    async def create(self, caller: Caller, wish: SnapshotWish) -> Operation:
        """Make one of an instance that runs, stands still or is off. Raises InvalidInput and Conflict."""
        host = await self.store.instances.get(caller.project, wish.instance)
        taken = {each.name for each in await self.store.snapshots.list(caller.project, limit=sys.maxsize)}
        name = wish.name or free_name(host.name, taken)
        faults = Faults()
        with faults.of("name"):
            check_name(name)
        with faults.of("tags"):
            check_tags(wish.tags)
        faults.raise_if_any(f"The snapshot {name[:80]!r} cannot be made like this")
        now = now_utc()
        snapshot = Snapshot(
            id=new_id(Kind.SNAPSHOT),
            project=caller.project,
            name=name,
            instance_id=host.id,
            parent_id=None,
            kind=wish.kind,
            state=SnapshotState.CREATING,
            node=host.node,
            created_at=now,
            updated_at=now,
            image=host.image,
            plan=host.plan,
            resources=host.resources,
            firmware=host.firmware,
            machine_type=host.machine_type,
            tags=check_tags(wish.tags),
            protected=wish.protected,
        )
        return await self._acceptor.new_snapshot(caller, snapshot)

    @action("snapshots.change", Scope.SNAPSHOTS_WRITE, audit=Audit.AFTER)
    async def change(
        self, caller: Caller, snapshot: str, name: str | None, tags: tuple[str, ...] | None, protected: bool | None
    ) -> Snapshot:
        """Rename, tag and protect, at once; None leaves it. Raises Conflict when the name is taken."""
        found = await self.store.snapshots.get(caller.project, snapshot)
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = check_name(name)
        if tags is not None:
            changes["tags"] = check_tags(tags)
        if protected is not None:
            changes["protected"] = protected
        return await self.store.snapshots.change(caller.project, found.id, **changes) if changes else found

    @action("snapshots.delete", Scope.SNAPSHOTS_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, snapshot: str) -> Operation:
        """In any order: what others are based on stays for them. Raises Conflict while it is protected or used."""
        return await self._acceptor.delete_snapshot(caller, await self.store.snapshots.get(caller.project, snapshot))

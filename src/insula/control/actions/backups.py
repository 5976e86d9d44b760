"""Backups: everything that may be asked of them. Instances and volumes are restored by creating them from one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput, NotFound
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.store import BackupFilter, Store
from insula.domain.access import Scope
from insula.domain.backup import Backup, BackupState, BackupStore, StoreState, check_available, free_name
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name
from insula.domain.operation import Operation
from insula.protocol.backups import FileEntry

ANY_BACKUP = BackupFilter()
MAX_COMMAND_CHARS = 4096


@dataclass(frozen=True)
class BackupWish:
    """A new backup of `instance`; an empty `store` is the only one there is, an empty `name` tells the moment."""

    instance: str
    store: str = ""
    name: str = ""
    protected: bool = False


class BackupActions:
    """`backup`, `store` and `instance` are names or ids everywhere."""

    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._nodes = nodes
        self._acceptor = acceptor

    @action("backups.list", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def list(
        self,
        caller: Caller,
        *,
        after: str = "",
        limit: int = 100,
        where: BackupFilter = ANY_BACKUP,
        instance: str = "",
        store: str = "",
    ) -> Page[Backup]:
        """Oldest first, only those of an `instance` or in a `store` if one is named.

        Those of an instance that is gone are found by its id or by the name that it had.
        """
        if store:
            where = replace(where, store_id=(await self.store.backup_stores.get(caller.project, store)).id)
        known = await self.store.instances.list(caller.project, limit=sys.maxsize) if instance else ()
        ids = {each.id for each in known if each.name == instance}
        found = await self.store.backups.list(caller.project, after=after, limit=sys.maxsize, where=where)
        wanted = [each for each in found if not instance or _is_of(each, instance, ids)]
        items = tuple(wanted[:limit])
        return Page(items, items[-1].id if len(wanted) > limit else None)

    @action("backups.show", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, backup: str) -> Backup:
        return await self.store.backups.get(caller.project, backup)

    @action("backups.create", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def create(self, caller: Caller, wish: BackupWish) -> Operation:
        """Make one of an instance that runs, stands still or is off. Raises InvalidInput and Conflict."""
        host = await self.store.instances.get(caller.project, wish.instance)
        place = await self._store_of(caller, wish.store)
        now = now_utc()
        taken = {each.name for each in await self.store.backups.list(caller.project, limit=sys.maxsize)}
        name = wish.name or free_name(host.name, now, taken)
        faults = Faults()
        with faults.of("name"):
            check_name(name)
        faults.raise_if_any(f"The backup {name[:80]!r} cannot be made like this")
        backup = Backup(
            id=new_id(Kind.BACKUP),
            project=caller.project,
            name=name,
            store_id=place.id,
            instance_id=host.id,
            instance_name=host.name,
            state=BackupState.CREATING,
            node=host.node,
            created_at=now,
            updated_at=now,
            image=host.image,
            plan=host.plan,
            resources=host.resources,
            firmware=host.firmware,
            machine_type=host.machine_type,
            protected=wish.protected,
        )
        return await self._acceptor.new_backup(caller, backup)

    @action("backups.change", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def change(self, caller: Caller, backup: str, name: str | None, protected: bool | None) -> Backup:
        """Rename and protect, at once; None leaves it. Raises Conflict when the name is taken."""
        found = await self.store.backups.get(caller.project, backup)
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = check_name(name)
        if protected is not None:
            changes["protected"] = protected
        return await self.store.backups.change(caller.project, found.id, **changes) if changes else found

    @action("backups.delete", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, backup: str) -> Operation:
        """In any order: each is whole by itself. Raises Conflict while it is protected or used."""
        return await self._acceptor.delete_backup(caller, await self.store.backups.get(caller.project, backup))

    @action("backups.drill", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def drill(self, caller: Caller, backup: str, command: str = "") -> Operation:
        """Restore it as an instance that nobody sees, without a network; boot it, try `command` there, remove it.

        The operation's result says whether it passed. Raises Conflict, and CapacityExceeded when there is no room.
        """
        if len(command) > MAX_COMMAND_CHARS or "\0" in command:
            raise InvalidInput(
                "The command is too long",
                why=f"It may have {MAX_COMMAND_CHARS} characters, none of them zero",
                todo="Put a script into the instance before the backup, and name that",
                fields={"command": f"at most {MAX_COMMAND_CHARS} characters"},
            )
        return await self._acceptor.drill(caller, await self.store.backups.get(caller.project, backup), command)

    @action("backups.files", Scope.BACKUPS_FILES, audit=Audit.AFTER)
    async def files(self, caller: Caller, backup: str, path: str) -> Sequence[FileEntry]:
        """What is in a folder of it. Raises NotFound, and Unsupported for file systems that cannot be looked into."""
        found = await self.store.backups.get(caller.project, backup)
        check_available(found, "looked into")
        return await self._nodes.get(found.node).backup_files(found.store_id, found.id, path)

    @action("backups.read_file", Scope.BACKUPS_FILES, audit=Audit.AFTER)
    async def read_file(self, caller: Caller, backup: str, path: str) -> AsyncIterator[bytes]:
        """The content of a file of it, in pieces. Raises the same, before the first piece."""
        found = await self.store.backups.get(caller.project, backup)
        check_available(found, "read")
        return await self._nodes.get(found.node).read_backup_file(found.store_id, found.id, path)

    async def _store_of(self, caller: Caller, name: str) -> BackupStore:
        """The store of that name, or the only one."""
        if name:
            return await self.store.backup_stores.get(caller.project, name)
        known = await self.store.backup_stores.list(caller.project)
        usable = [each for each in known if each.state is StoreState.AVAILABLE]
        if len(usable) == 1:
            return usable[0]
        if not usable:
            raise NotFound(
                "There is no backup store yet",
                why="A backup goes to a place elsewhere",
                todo="Add one: insula backup store add NAME --folder PATH",
                code="unknown-backup-store",
            )
        names = ", ".join(each.name for each in usable)
        raise InvalidInput(
            "It is not clear into which store",
            why=f"There are several: {names}",
            todo=f"Name one: --store {usable[0].name}",
            fields={"store": f"one of {names}"},
        )


def _is_of(backup: Backup, instance: str, ids: set[str]) -> bool:
    if ids:
        return backup.instance_id in ids
    return instance in (backup.instance_id, backup.instance_name)

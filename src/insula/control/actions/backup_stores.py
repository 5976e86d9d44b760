"""Backup stores: adding, looking into and removing them. What is in one outlives its record here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from insula.base.clock import now_utc
from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.store import BackupFilter, Store
from insula.domain.access import Scope
from insula.domain.backup import Backup, BackupState, BackupStore, StoreKind, StorePlace, StoreState
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name
from insula.domain.operation import Operation, Verb
from insula.protocol.backups import StoreSecret, StoreSpec
from insula.protocol.node import StoredBackup

MAX_RATE_MIB_S = 100_000
_ALL = 1_000_000_000
_LEAST_PARTS = 2
_LOST = "The store does not have it any more; another host may have deleted it"

log = get_logger(__name__)


@dataclass(frozen=True)
class StoreWish:
    """A new backup store. The secrets go to the node and nowhere else."""

    name: str
    place: StorePlace
    rate_mib_s: int = 0
    secret: StoreSecret = field(default_factory=StoreSecret, repr=False)


@dataclass(frozen=True)
class AddedStore:
    """A store that was added. Whoever has its `recovery_key` can read all backups in it.

    `is_new` says that nothing was there before; `backups` are those that were found in it.
    """

    store: BackupStore
    is_new: bool
    recovery_key: str = field(repr=False)
    backups: tuple[Backup, ...] = ()


@dataclass(frozen=True)
class StoreKey:
    """What opens a store, wherever it is."""

    recovery_key: str = field(repr=False)


@dataclass(frozen=True)
class RemovedStore:
    """`backups` of it are not recorded any more; they are still there."""

    backups: int


class BackupStoreActions:
    """`store` is a name or an id everywhere."""

    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._nodes = nodes
        self._acceptor = acceptor

    @action("stores.list", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller, *, after: str = "", limit: int = 100) -> Page[BackupStore]:
        """Oldest first; `after` is the last id of the page before."""
        found = await self.store.backup_stores.list(caller.project, after=after, limit=limit + 1)
        items = tuple(found[:limit])
        return Page(items, items[-1].id if len(found) > limit else None)

    @action("stores.show", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, store: str) -> BackupStore:
        return await self.store.backup_stores.get(caller.project, store)

    @action("stores.add", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def add(self, caller: Caller, wish: StoreWish) -> AddedStore:
        """Make a store, or open one that there is, and record the backups in it.

        Raises InvalidInput, Conflict (name), Forbidden (recovery key, access), and what the place raises.
        """
        _check_wish(wish)
        now = now_utc()
        node = self._nodes.names()[0]
        new = BackupStore(
            id=new_id(Kind.STORE),
            project=caller.project,
            name=wish.name,
            state=StoreState.OPENING,
            place=wish.place,
            node=node,
            created_at=now,
            updated_at=now,
            rate_mib_s=wish.rate_mib_s,
        )
        # Recorded first: killed in between, it can be seen and removed, and the node's secrets go with it.
        await self.store.backup_stores.add(new)
        try:
            opened = await self._nodes.get(node).open_store(StoreSpec(new.id, wish.place, wish.rate_mib_s), wish.secret)
            added = await self.store.backup_stores.change(new.id, state=StoreState.AVAILABLE)
        except BaseException:  # also when the caller has gone: nothing half may be left of it
            await self._forget(new)
            raise
        found = await self._import(caller, added) if opened.backups else ()
        return AddedStore(added, opened.is_new, opened.recovery_key, tuple(found))

    async def _forget(self, new: BackupStore) -> None:
        try:
            await self._nodes.get(new.node).forget_store(new.id)
            await self.store.backup_stores.remove(new.id)
        except InsulaError as error:
            log.warning("a backup store that could not be opened is left", store_id=new.id, error=str(error))

    @action("stores.key", Scope.BACKUPS_KEY, audit=Audit.AFTER)
    async def key(self, caller: Caller, store: str) -> StoreKey:
        """The recovery key once more."""
        found = await self.store.backup_stores.get(caller.project, store)
        return StoreKey(await self._nodes.get(found.node).store_key(found.id))

    @action("stores.remove", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def remove(self, caller: Caller, store: str) -> RemovedStore:
        """Forget it and the backups in it, which stay where they are. Raises Conflict while something uses it."""
        found = await self.store.backup_stores.get(caller.project, store)
        await self.store.backup_stores.check_removable(found.id)
        await self._nodes.get(found.node).forget_store(found.id)
        return RemovedStore(await self.store.backup_stores.remove(found.id))

    @action("stores.check", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def check(self, caller: Caller, store: str, *, read_data: bool = False) -> Operation:
        """Look whether all is there that backups need; with `read_data`, whether it is what was written."""
        found = await self.store.backup_stores.get(caller.project, store)
        return await self._acceptor.store_work(caller, found, Verb.CHECK_STORE, {"read_data": read_data})

    @action("stores.prune", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def prune(self, caller: Caller, store: str) -> Operation:
        """Give back the room of what no backup needs any more."""
        found = await self.store.backup_stores.get(caller.project, store)
        return await self._acceptor.store_work(caller, found, Verb.PRUNE_STORE, {})

    @action("stores.repair", Scope.BACKUPS_WRITE, audit=Audit.ACCEPTED)
    async def repair(self, caller: Caller, store: str) -> Operation:
        """Count on what is whole only, so that the next backups store again what is lost, for older ones as well."""
        found = await self.store.backup_stores.get(caller.project, store)
        return await self._acceptor.store_work(caller, found, Verb.REPAIR_STORE, {})

    @action("stores.import", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def import_(self, caller: Caller, store: str) -> tuple[Backup, ...]:
        """Record the backups in it that are not known here: other hosts made them. May be repeated.

        Those that are known and not there any more fail.
        """
        return tuple(await self._import(caller, await self.store.backup_stores.get(caller.project, store)))

    async def _import(self, caller: Caller, store: BackupStore) -> Sequence[Backup]:
        where = BackupFilter(store_id=store.id)
        before = {each.id: each for each in await self.store.backups.list(caller.project, limit=_ALL, where=where)}
        stored = await self._nodes.get(store.node).stored_backups(store.id)
        there = {each.id for each in stored}
        gone = [each.id for each in before.values() if each.state is BackupState.AVAILABLE and each.id not in there]
        new = [_backup_of(caller, store, each) for each in stored if each.id not in before]
        return await self.store.backups.take_over([each for each in new if each is not None], gone, _LOST)


def _backup_of(caller: Caller, store: BackupStore, stored: StoredBackup) -> Backup | None:
    """The record of a backup that the store tells of; None for what is none."""
    if stored.spec is None:
        log.warning("a backup cannot be taken over", backup_id=stored.id, problem=stored.problem)
        return None
    spec = stored.spec
    return Backup(
        id=stored.id,
        project=caller.project,
        name="",
        store_id=store.id,
        instance_id=spec.id,
        instance_name=spec.name,
        state=BackupState.FAILED if stored.problem else BackupState.AVAILABLE,
        node=store.node,
        created_at=stored.made_at,
        updated_at=now_utc(),
        image=spec.image,
        plan="",
        resources=spec.resources,
        firmware=spec.firmware,
        machine_type=spec.machine_type,
        consistency=stored.consistency,
        size_bytes=stored.size_bytes,
        added_bytes=stored.added_bytes,
        problem=stored.problem,
        drills=tuple(stored.drills),
    )


def _check_wish(wish: StoreWish) -> None:
    faults, place = Faults(), wish.place
    with faults.of("name"):
        check_name(wish.name)
    faults.between("rate_mib_s", wish.rate_mib_s, 0, MAX_RATE_MIB_S)
    needed: dict[str, str] = {}
    if place.kind is StoreKind.FOLDER:
        needed = {"path": place.path}
        if place.path and len(PurePosixPath(place.path).parts) < _LEAST_PARTS:
            faults.note("path", "must be a folder's absolute path, and not / itself")
    elif place.kind is StoreKind.S3:
        needed = {
            "bucket": place.bucket,
            "access_key": wish.secret.access_key,
            "secret_key": wish.secret.secret_key,
        }
    else:
        needed = {
            "host": place.host,
            "user": place.user,
            "path": place.path,
            "host_key": place.host_key,
            "private_key": wish.secret.private_key,
        }
        faults.between("port", place.port, 1, 65535)
    for name, value in needed.items():
        if not value:
            faults.note(name, f"is needed for a store of kind {place.kind}")
    faults.raise_if_any(f"The backup store {wish.name[:80]!r} cannot be added like this")

"""Endpoints of backups, their stores and their schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator

from insula.control.actions import BackupFilter
from insula.control.actions.backup_stores import AddedStore, RemovedStore, StoreKey
from insula.domain.backup import Backup, BackupStore
from insula.domain.operation import Operation
from insula.domain.schedule import BackupSchedule
from insula.frontends.api.backup_schemas import (
    AddStore,
    BackupFileQuery,
    BackupQuery,
    ChangeBackup,
    CheckStore,
    CreateBackup,
    DrillBackup,
    SetSchedule,
)
from insula.frontends.api.endpoint import Call, accepted, answer, created, endpoint, gone, page_reply
from insula.frontends.api.reply import OCTETS, Reply
from insula.frontends.api.schemas import FileQuery, ListOf, Nothing, PageOf, PageQuery
from insula.protocol.backups import FileEntry


@endpoint("GET", "/v1/backup-stores", action="stores.list", asks=PageQuery, gives=PageOf[BackupStore])
async def list_backup_stores(call: Call[Nothing, PageQuery]) -> Reply:
    """List backup stores, oldest first."""
    page = await call.actions.backup_stores.list(call.caller, after=call.query.after, limit=call.query.limit)
    return page_reply("/v1/backup-stores", call.query, page)


@endpoint("POST", "/v1/backup-stores", action="stores.add", takes=AddStore, gives=AddedStore, status=201)
async def add_backup_store(call: Call[AddStore, Nothing]) -> Reply:
    """Make a backup store, or open one that there is; the answer has its recovery key. Keep that elsewhere."""
    added = await call.actions.backup_stores.add(call.caller, call.body.to_wish())
    return created(added, f"/v1/backup-stores/{added.store.id}")


@endpoint("GET", "/v1/backup-stores/{store}", action="stores.show", gives=BackupStore)
async def show_backup_store(call: Call[Nothing, Nothing]) -> Reply:
    """Show a backup store, by name or id."""
    return answer(await call.actions.backup_stores.show(call.caller, call.path["store"]))


@endpoint("DELETE", "/v1/backup-stores/{store}", action="stores.remove", gives=RemovedStore)
async def remove_backup_store(call: Call[Nothing, Nothing]) -> Reply:
    """Forget a backup store and the backups in it, which stay where they are."""
    return answer(await call.actions.backup_stores.remove(call.caller, call.path["store"]))


@endpoint("GET", "/v1/backup-stores/{store}/key", action="stores.key", gives=StoreKey)
async def show_backup_store_key(call: Call[Nothing, Nothing]) -> Reply:
    """Show the recovery key of a backup store; whoever has it can read all backups in it."""
    return answer(await call.actions.backup_stores.key(call.caller, call.path["store"]))


@endpoint(
    "POST",
    "/v1/backup-stores/{store}/check",
    action="stores.check",
    takes=CheckStore,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def check_backup_store(call: Call[CheckStore, Nothing]) -> Reply:
    """Look whether all is there that backups need; the result names what is lost."""
    operation = await call.actions.backup_stores.check(call.caller, call.path["store"], read_data=call.body.read_data)
    return accepted(operation)


@endpoint("POST", "/v1/backup-stores/{store}/prune", action="stores.prune", gives=Operation, status=202)
async def prune_backup_store(call: Call[Nothing, Nothing]) -> Reply:
    """Give back the room of what no backup needs any more."""
    return accepted(await call.actions.backup_stores.prune(call.caller, call.path["store"]))


@endpoint("POST", "/v1/backup-stores/{store}/repair", action="stores.repair", gives=Operation, status=202)
async def repair_backup_store(call: Call[Nothing, Nothing]) -> Reply:
    """Count on what is whole only; the next backups store again what is lost."""
    return accepted(await call.actions.backup_stores.repair(call.caller, call.path["store"]))


@endpoint("POST", "/v1/backup-stores/{store}/import", action="stores.import", gives=ListOf[Backup])
async def import_backups(call: Call[Nothing, Nothing]) -> Reply:
    """Record the backups in a store that are not known here, since other hosts made them."""
    return answer(ListOf(await call.actions.backup_stores.import_(call.caller, call.path["store"])))


@endpoint("GET", "/v1/backups", action="backups.list", asks=BackupQuery, gives=PageOf[Backup])
async def list_backups(call: Call[Nothing, BackupQuery]) -> Reply:
    """List backups, oldest first; they stay when their instance is deleted."""
    query = call.query
    page = await call.actions.backups.list(
        call.caller,
        after=query.after,
        limit=query.limit,
        where=BackupFilter(state=query.state, name=query.name),
        instance=query.instance,
        store=query.store,
    )
    return page_reply("/v1/backups", query, page)


@endpoint("POST", "/v1/backups", action="backups.create", takes=CreateBackup, gives=Operation, status=202)
async def create_backup(call: Call[CreateBackup, Nothing]) -> Reply:
    """Back an instance's disk up, while it runs, stands still or is off."""
    return accepted(await call.actions.backups.create(call.caller, call.body.to_wish()))


@endpoint("GET", "/v1/backups/{backup}", action="backups.show", gives=Backup)
async def show_backup(call: Call[Nothing, Nothing]) -> Reply:
    """Show a backup with its drills, by name or id."""
    return answer(await call.actions.backups.show(call.caller, call.path["backup"]))


@endpoint("PATCH", "/v1/backups/{backup}", action="backups.change", takes=ChangeBackup, gives=Backup)
async def change_backup(call: Call[ChangeBackup, Nothing]) -> Reply:
    """Rename or protect a backup, at once."""
    wish = call.body
    return answer(await call.actions.backups.change(call.caller, call.path["backup"], wish.name, wish.protected))


@endpoint("DELETE", "/v1/backups/{backup}", action="backups.delete", gives=Operation, status=202)
async def delete_backup(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a backup, in any order; its room comes back with the store's next prune."""
    return accepted(await call.actions.backups.delete(call.caller, call.path["backup"]))


@endpoint(
    "POST",
    "/v1/backups/{backup}/drill",
    action="backups.drill",
    takes=DrillBackup,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def drill_backup(call: Call[DrillBackup, Nothing]) -> Reply:
    """Try a backup: restore it as an instance that nobody sees, boot that without a network, remove it."""
    return accepted(await call.actions.backups.drill(call.caller, call.path["backup"], call.body.command))


@endpoint("GET", "/v1/backups/{backup}/files", action="backups.files", asks=BackupFileQuery, gives=ListOf[FileEntry])
async def list_backup_files(call: Call[Nothing, BackupFileQuery]) -> Reply:
    """List a folder of a backup (ext2, ext3, ext4)."""
    found = await call.actions.backups.files(call.caller, call.path["backup"], call.query.path)
    return answer(ListOf(found))


@endpoint(
    "GET",
    "/v1/backups/{backup}/content",
    action="backups.read_file",
    asks=FileQuery,
    media=OCTETS,
    streams=True,
)
async def read_backup_file(call: Call[Nothing, FileQuery]) -> Reply:
    """Read a file of a backup (ext2, ext3, ext4)."""
    content = await call.actions.backups.read_file(call.caller, call.path["backup"], call.query.path)
    # The first piece is fetched before the answer begins, so that a missing file is a 404 and not a torn stream.
    first = await anext(aiter(content), b"")
    return Reply(_continued(first, content), media=OCTETS)


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
        async for part in rest:
            yield part


@endpoint("GET", "/v1/backup-schedules", action="schedules.list", gives=ListOf[BackupSchedule])
async def list_backup_schedules(call: Call[Nothing, Nothing]) -> Reply:
    """List the schedules of backups, with what went wrong last."""
    return answer(ListOf(await call.actions.backup_schedules.list(call.caller)))


@endpoint("GET", "/v1/instances/{instance}/backup-schedule", action="schedules.show", gives=BackupSchedule)
async def show_backup_schedule(call: Call[Nothing, Nothing]) -> Reply:
    """Show an instance's schedule of backups."""
    return answer(await call.actions.backup_schedules.show(call.caller, call.path["instance"]))


@endpoint(
    "PUT",
    "/v1/instances/{instance}/backup-schedule",
    action="schedules.set",
    takes=SetSchedule,
    gives=BackupSchedule,
)
async def set_backup_schedule(call: Call[SetSchedule, Nothing]) -> Reply:
    """Give an instance a schedule of backups, instead of any that it has."""
    wish = call.body.to_wish()
    return answer(await call.actions.backup_schedules.set(call.caller, call.path["instance"], wish))


@endpoint("DELETE", "/v1/instances/{instance}/backup-schedule", action="schedules.end", status=204)
async def end_backup_schedule(call: Call[Nothing, Nothing]) -> Reply:
    """End an instance's schedule; its backups stay."""
    await call.actions.backup_schedules.end(call.caller, call.path["instance"])
    return gone()

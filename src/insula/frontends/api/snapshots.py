"""Endpoints of snapshots."""

from __future__ import annotations

from insula.control.actions import SnapshotFilter
from insula.domain.operation import Operation
from insula.domain.snapshot import Snapshot
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf
from insula.frontends.api.snapshot_schemas import ChangeSnapshot, CreateSnapshot, RevertInstance, SnapshotQuery


@endpoint("GET", "/v1/snapshots", action="snapshots.list", asks=SnapshotQuery, gives=PageOf[Snapshot])
async def list_snapshots(call: Call[Nothing, SnapshotQuery]) -> Reply:
    """List snapshots, oldest first; their `parent_id` makes them a tree."""
    query = call.query
    where = SnapshotFilter(state=query.state, tag=query.tag, name=query.name)
    page = await call.actions.snapshots.list(
        call.caller, after=query.after, limit=query.limit, where=where, instance=query.instance
    )
    return page_reply("/v1/snapshots", query, page, lambda found: found)


@endpoint("POST", "/v1/snapshots", action="snapshots.create", takes=CreateSnapshot, gives=Operation, status=202)
async def create_snapshot(call: Call[CreateSnapshot, Nothing]) -> Reply:
    """Make a snapshot of an instance that runs, stands still or is off; the result says how long it stood still."""
    return accepted(await call.actions.snapshots.create(call.caller, call.body.to_wish()))


@endpoint("GET", "/v1/snapshots/{snapshot}", action="snapshots.show", gives=Snapshot)
async def show_snapshot(call: Call[Nothing, Nothing]) -> Reply:
    """Show a snapshot, by name or id."""
    return answer(await call.actions.snapshots.show(call.caller, call.path["snapshot"]))


@endpoint("PATCH", "/v1/snapshots/{snapshot}", action="snapshots.change", takes=ChangeSnapshot, gives=Snapshot)
async def change_snapshot(call: Call[ChangeSnapshot, Nothing]) -> Reply:
    """Rename, tag or protect a snapshot, at once."""
    wish = call.body
    tags = None if wish.tags is None else tuple(wish.tags)
    changed = await call.actions.snapshots.change(call.caller, call.path["snapshot"], wish.name, tags, wish.protected)
    return answer(changed)


@endpoint("DELETE", "/v1/snapshots/{snapshot}", action="snapshots.delete", gives=Operation, status=202)
async def delete_snapshot(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a snapshot, in any order; what others are based on stays for them."""
    return accepted(await call.actions.snapshots.delete(call.caller, call.path["snapshot"]))


@endpoint(
    "POST",
    "/v1/instances/{instance}/revert",
    action="instances.revert",
    takes=RevertInstance,
    gives=Operation,
    status=202,
)
async def revert_instance(call: Call[RevertInstance, Nothing]) -> Reply:
    """Take an instance back to a snapshot of it; what it is now is lost."""
    wish = call.body
    operation = await call.actions.instances.revert(
        call.caller, call.path["instance"], wish.snapshot, disk_only=wish.disk_only
    )
    return accepted(operation)

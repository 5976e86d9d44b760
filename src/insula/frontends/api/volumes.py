"""Endpoints of volumes."""

from __future__ import annotations

from insula.control.actions import VolumeFilter
from insula.domain.operation import Operation
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf
from insula.frontends.api.volume_schemas import (
    AttachVolume,
    ChangeVolume,
    CreateVolume,
    DetachVolume,
    GrowVolume,
    LimitVolume,
    VolumeQuery,
    VolumeView,
    view,
)


@endpoint("GET", "/v1/volumes", action="volumes.list", asks=VolumeQuery, gives=PageOf[VolumeView])
async def list_volumes(call: Call[Nothing, VolumeQuery]) -> Reply:
    """List volumes, oldest first."""
    query = call.query
    where = VolumeFilter(state=query.state, tag=query.tag, name=query.name)
    page = await call.actions.volumes.list(
        call.caller, after=query.after, limit=query.limit, where=where, instance=query.instance
    )
    return page_reply("/v1/volumes", query, page, view)


@endpoint("POST", "/v1/volumes", action="volumes.create", takes=CreateVolume, gives=Operation, status=202)
async def create_volume(call: Call[CreateVolume, Nothing]) -> Reply:
    """Create a volume, and attach it if an instance is named."""
    return accepted(await call.actions.volumes.create(call.caller, call.body.to_wish()))


@endpoint("GET", "/v1/volumes/{volume}", action="volumes.show", gives=VolumeView)
async def show_volume(call: Call[Nothing, Nothing]) -> Reply:
    """Show a volume, by name or id."""
    return answer(view(await call.actions.volumes.show(call.caller, call.path["volume"])))


@endpoint("PATCH", "/v1/volumes/{volume}", action="volumes.change", takes=ChangeVolume, gives=VolumeView)
async def change_volume(call: Call[ChangeVolume, Nothing]) -> Reply:
    """Tag or protect a volume, at once."""
    wish = call.body
    tags = None if wish.tags is None else tuple(wish.tags)
    return answer(view(await call.actions.volumes.change(call.caller, call.path["volume"], tags, wish.protected)))


@endpoint("DELETE", "/v1/volumes/{volume}", action="volumes.delete", gives=Operation, status=202)
async def delete_volume(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a volume that is attached to nothing, with all that is on it."""
    return accepted(await call.actions.volumes.delete(call.caller, call.path["volume"]))


@endpoint(
    "POST",
    "/v1/volumes/{volume}/attach",
    action="volumes.attach",
    takes=AttachVolume,
    gives=Operation,
    status=202,
)
async def attach_volume(call: Call[AttachVolume, Nothing]) -> Reply:
    """Attach a volume to an instance, while it runs or not."""
    wish = call.body
    operation = await call.actions.volumes.attach(
        call.caller, call.path["volume"], wish.instance, move=wish.move, force=wish.force
    )
    return accepted(operation)


@endpoint(
    "POST",
    "/v1/volumes/{volume}/detach",
    action="volumes.detach",
    takes=DetachVolume,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def detach_volume(call: Call[DetachVolume, Nothing]) -> Reply:
    """Detach a volume from its instance, while it runs or not."""
    return accepted(await call.actions.volumes.detach(call.caller, call.path["volume"], force=call.body.force))


@endpoint("POST", "/v1/volumes/{volume}/grow", action="volumes.grow", takes=GrowVolume, gives=Operation, status=202)
async def grow_volume(call: Call[GrowVolume, Nothing]) -> Reply:
    """Make a volume larger, with the file systems that a guest has mounted from it; the result names them."""
    return accepted(await call.actions.volumes.grow(call.caller, call.path["volume"], call.body.size_gib))


@endpoint("POST", "/v1/volumes/{volume}/limit", action="volumes.limit", takes=LimitVolume, gives=Operation, status=202)
async def limit_volume(call: Call[LimitVolume, Nothing]) -> Reply:
    """Change a volume's limits, at once."""
    wish = call.body
    return accepted(await call.actions.volumes.limit(call.caller, call.path["volume"], wish.disk_iops, wish.disk_mbps))

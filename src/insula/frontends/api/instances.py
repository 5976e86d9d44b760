"""Endpoints of instances."""

from __future__ import annotations

from insula.control.actions import InstanceFilter
from insula.domain.operation import Operation
from insula.frontends.api.endpoint import Call, accepted, answer, endpoint, page_reply
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import (
    ChangeInstance,
    CreateInstance,
    ForkInstance,
    InstanceQuery,
    InstanceView,
    LeaseInstance,
    Nothing,
    PageOf,
    RebuildInstance,
    ResizeInstance,
    StartInstance,
    StopInstance,
    view,
)


@endpoint("GET", "/v1/instances", action="instances.list", asks=InstanceQuery, gives=PageOf[InstanceView])
async def list_instances(call: Call[Nothing, InstanceQuery]) -> Reply:
    """List instances, oldest first."""
    query_text: bytes = call.request.scope["query_string"]
    query = call.query
    where = InstanceFilter(state=query.state, tag=query.tag, name=query.name, plan=query.plan, image=query.image)
    # The version is read before the list: a change in between makes the kept one look older, never newer.
    version = call.actions.instances.version()
    page = await call.actions.instances.list(call.caller, after=query.after, limit=query.limit, where=where)
    kept = call.service.lists.find(call.caller.project, query_text, version)
    if kept is None:
        reply = page_reply("/v1/instances", query, page, view)
        kept = call.service.lists.keep(call.caller.project, query_text, version, reply)
    if call.request.headers.get("if-none-match") == kept.etag:
        return Reply(b"", 304, headers={"etag": kept.etag})
    return Reply(kept.content, headers=kept.headers)


@endpoint("POST", "/v1/instances", action="instances.create", takes=CreateInstance, gives=Operation, status=202)
async def create_instance(call: Call[CreateInstance, Nothing]) -> Reply:
    """Create an instance and start it."""
    return accepted(await call.actions.instances.create(call.caller, call.body.to_wish()))


@endpoint("GET", "/v1/instances/{instance}", action="instances.show", gives=InstanceView)
async def show_instance(call: Call[Nothing, Nothing]) -> Reply:
    """Show an instance, by name or id."""
    return answer(view(await call.actions.instances.show(call.caller, call.path["instance"])))


@endpoint("PATCH", "/v1/instances/{instance}", action="instances.change", takes=ChangeInstance, gives=InstanceView)
async def change_instance(call: Call[ChangeInstance, Nothing]) -> Reply:
    """Rename, tag or protect an instance, at once."""
    changed = await call.actions.instances.change(call.caller, call.path["instance"], call.body.to_wish())
    return answer(view(changed))


@endpoint("POST", "/v1/instances/{instance}/lease", action="instances.lease", takes=LeaseInstance, gives=InstanceView)
async def lease_instance(call: Call[LeaseInstance, Nothing]) -> Reply:
    """Give an instance a lease, renew it, or take it off; when one ends, the instance is deleted."""
    leased = await call.actions.instances.lease(call.caller, call.path["instance"], call.body.lease_s)
    return answer(view(leased))


@endpoint("DELETE", "/v1/instances/{instance}", action="instances.delete", gives=Operation, status=202)
async def delete_instance(call: Call[Nothing, Nothing]) -> Reply:
    """Delete an instance with its disk."""
    return accepted(await call.actions.instances.delete(call.caller, call.path["instance"]))


@endpoint(
    "POST",
    "/v1/instances/{instance}/start",
    action="instances.start",
    takes=StartInstance,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def start_instance(call: Call[StartInstance, Nothing]) -> Reply:
    """Start a stopped, failed or hibernated instance."""
    return accepted(await call.actions.instances.start(call.caller, call.path["instance"], call.body.cold))


@endpoint(
    "POST",
    "/v1/instances/{instance}/stop",
    action="instances.stop",
    takes=StopInstance,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def stop_instance(call: Call[StopInstance, Nothing]) -> Reply:
    """Stop an instance: its agent or ACPI first, hard when its time is up; the result says which."""
    graceful_s = call.body.graceful_s
    return accepted(await call.actions.instances.stop(call.caller, call.path["instance"], graceful_s))


@endpoint(
    "POST",
    "/v1/instances/{instance}/reboot",
    action="instances.reboot",
    takes=StopInstance,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def reboot_instance(call: Call[StopInstance, Nothing]) -> Reply:
    """Reboot an instance."""
    graceful_s = call.body.graceful_s
    return accepted(await call.actions.instances.reboot(call.caller, call.path["instance"], graceful_s))


@endpoint("POST", "/v1/instances/{instance}/pause", action="instances.pause", gives=Operation, status=202)
async def pause_instance(call: Call[Nothing, Nothing]) -> Reply:
    """Let a running instance stand still; its memory stays in the host's."""
    return accepted(await call.actions.instances.pause(call.caller, call.path["instance"]))


@endpoint("POST", "/v1/instances/{instance}/resume", action="instances.resume", gives=Operation, status=202)
async def resume_instance(call: Call[Nothing, Nothing]) -> Reply:
    """Let a paused instance go on."""
    return accepted(await call.actions.instances.resume(call.caller, call.path["instance"]))


@endpoint("POST", "/v1/instances/{instance}/hibernate", action="instances.hibernate", gives=Operation, status=202)
async def hibernate_instance(call: Call[Nothing, Nothing]) -> Reply:
    """Save an instance's memory to disk and free the host's; a start goes on from there."""
    return accepted(await call.actions.instances.hibernate(call.caller, call.path["instance"]))


@endpoint(
    "POST",
    "/v1/instances/{instance}/fork",
    action="instances.fork",
    takes=ForkInstance,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def fork_instance(call: Call[ForkInstance, Nothing]) -> Reply:
    """Make children that go on from an instance's present state, while it goes on itself; the result names them."""
    return accepted(await call.actions.instances.fork(call.caller, call.path["instance"], call.body.to_wish()))


@endpoint(
    "POST",
    "/v1/instances/{instance}/resize",
    action="instances.resize",
    takes=ResizeInstance,
    gives=Operation,
    status=202,
)
async def resize_instance(call: Call[ResizeInstance, Nothing]) -> Reply:
    """Change an instance's CPU, memory, disk or limits; a running one reboots for CPU and memory only."""
    return accepted(await call.actions.instances.resize(call.caller, call.path["instance"], call.body.to_wish()))


@endpoint(
    "POST",
    "/v1/instances/{instance}/rebuild",
    action="instances.rebuild",
    takes=RebuildInstance,
    gives=Operation,
    status=202,
    optional_body=True,
)
async def rebuild_instance(call: Call[RebuildInstance, Nothing]) -> Reply:
    """Give an instance a fresh disk; what it held is lost."""
    return accepted(await call.actions.instances.rebuild(call.caller, call.path["instance"], call.body.to_wish()))

"""Endpoints of networks."""

from __future__ import annotations

from insula.domain.project_network import ProjectNetwork
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.network_schemas import CreateNetwork
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/networks", action="networks.list", asks=PageQuery, gives=PageOf[ProjectNetwork])
async def list_networks(call: Call[Nothing, PageQuery]) -> Reply:
    """List networks; instances that name none are in the first one."""
    page = await call.actions.networks.list(call.caller)
    return page_reply("/v1/networks", call.query, part_of(page.items, call.query, lambda one: one.id))


@endpoint("POST", "/v1/networks", action="networks.create", takes=CreateNetwork, gives=ProjectNetwork, status=201)
async def create_network(call: Call[CreateNetwork, Nothing]) -> Reply:
    """Make a network."""
    made = await call.actions.networks.create(call.caller, call.body.to_wish())
    return created(made, f"/v1/networks/{made.id}")


@endpoint("GET", "/v1/networks/{network}", action="networks.show", gives=ProjectNetwork)
async def show_network(call: Call[Nothing, Nothing]) -> Reply:
    """Show a network, by name or id."""
    return answer(await call.actions.networks.show(call.caller, call.path["network"]))


@endpoint("DELETE", "/v1/networks/{network}", action="networks.delete", status=204)
async def delete_network(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a network that no instance is in."""
    await call.actions.networks.delete(call.caller, call.path["network"])
    return gone()

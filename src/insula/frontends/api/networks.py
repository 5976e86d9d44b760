"""Endpoints of networks."""

from __future__ import annotations

from insula.domain.project_network import ProjectNetwork
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.network_schemas import ChangeNetwork, CreateNetwork, JoinView, OtherNetwork
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import InstanceView, ListOf, Nothing, PageOf, PageQuery, view


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


@endpoint("PATCH", "/v1/networks/{network}", action="networks.change", takes=ChangeNetwork, gives=ProjectNetwork)
async def change_network(call: Call[ChangeNetwork, Nothing]) -> Reply:
    """Rename a network, let it lead outside or no more; guests hear of it when they renew their lease."""
    wish = call.body
    return answer(await call.actions.networks.change(call.caller, call.path["network"], wish.name, wish.gateway))


@endpoint("DELETE", "/v1/networks/{network}", action="networks.delete", status=204)
async def delete_network(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a network that no instance is in."""
    await call.actions.networks.delete(call.caller, call.path["network"])
    return gone()


@endpoint(
    "POST",
    "/v1/instances/{instance}/networks",
    action="networks.attach",
    takes=OtherNetwork,
    gives=InstanceView,
    status=201,
)
async def attach_network(call: Call[OtherNetwork, Nothing]) -> Reply:
    """Give an instance a further network card, in another network; it has it when this is answered."""
    changed = await call.actions.networks.attach(call.caller, call.path["instance"], call.body.network)
    return created(view(changed), f"/v1/instances/{changed.id}")


@endpoint("DELETE", "/v1/instances/{instance}/networks/{network}", action="networks.detach", gives=InstanceView)
async def detach_network(call: Call[Nothing, Nothing]) -> Reply:
    """Take a further network card away from an instance."""
    changed = await call.actions.networks.detach(call.caller, call.path["instance"], call.path["network"])
    return answer(view(changed))


@endpoint("GET", "/v1/network-joins", action="networks.joined", gives=ListOf[JoinView])
async def list_joins(call: Call[Nothing, Nothing]) -> Reply:
    """List the pairs of networks that reach each other."""
    pairs = await call.actions.networks.joined(call.caller)
    return answer(ListOf([JoinView(one, other) for one, other in pairs]))


@endpoint("POST", "/v1/networks/{network}/join", action="networks.join", takes=OtherNetwork, status=204)
async def join_networks(call: Call[OtherNetwork, Nothing]) -> Reply:
    """Let two networks reach each other."""
    await call.actions.networks.join(call.caller, call.path["network"], call.body.network)
    return gone()


@endpoint("POST", "/v1/networks/{network}/part", action="networks.part", takes=OtherNetwork, status=204)
async def part_networks(call: Call[OtherNetwork, Nothing]) -> Reply:
    """Let two networks reach each other no more; connections that stand go on."""
    await call.actions.networks.part(call.caller, call.path["network"], call.body.network)
    return gone()

"""Endpoints of reserved addresses and the pools that they are from."""

from __future__ import annotations

from insula.domain.address import AddressPool, Assignment, ReservedAddress
from insula.frontends.api.address_schemas import AssignAddress, CreatePool, ReserveAddress
from insula.frontends.api.endpoint import Call, answer, created, endpoint, gone, page_reply, part_of
from insula.frontends.api.reply import Reply
from insula.frontends.api.schemas import ListOf, Nothing, PageOf, PageQuery


@endpoint("GET", "/v1/address-pools", action="addresses.pools", gives=ListOf[AddressPool])
async def list_address_pools(call: Call[Nothing, Nothing]) -> Reply:
    """List the pools that addresses can be reserved from."""
    return answer(ListOf(list(await call.actions.addresses.pools(call.caller))))


@endpoint("POST", "/v1/address-pools", action="addresses.add_pool", takes=CreatePool, gives=AddressPool, status=201)
async def add_address_pool(call: Call[CreatePool, Nothing]) -> Reply:
    """Add addresses that lead to a host, by routing or because they belong to one of its segments."""
    made = await call.actions.addresses.add_pool(call.caller, call.body.to_wish())
    return created(made, "/v1/address-pools")


@endpoint("DELETE", "/v1/address-pools/{pool}", action="addresses.delete_pool", status=204)
async def delete_address_pool(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a pool that no address is reserved of."""
    await call.actions.addresses.delete_pool(call.caller, call.path["pool"])
    return gone()


@endpoint("GET", "/v1/addresses", action="addresses.list", asks=PageQuery, gives=PageOf[ReservedAddress])
async def list_addresses(call: Call[Nothing, PageQuery]) -> Reply:
    """List the addresses that the project has reserved."""
    page = await call.actions.addresses.list(call.caller)
    return page_reply("/v1/addresses", call.query, part_of(page.items, call.query, lambda one: one.id))


@endpoint("POST", "/v1/addresses", action="addresses.reserve", takes=ReserveAddress, gives=ReservedAddress, status=201)
async def reserve_address(call: Call[ReserveAddress, Nothing]) -> Reply:
    """Reserve an address of the outside, and let it lead to an instance if one is named."""
    made = await call.actions.addresses.reserve(call.caller, call.body.to_wish())
    return created(made, f"/v1/addresses/{made.id}")


@endpoint("GET", "/v1/addresses/{address}", action="addresses.show", gives=ReservedAddress)
async def show_address(call: Call[Nothing, Nothing]) -> Reply:
    """Show a reserved address, by itself or by its id."""
    return answer(await call.actions.addresses.show(call.caller, call.path["address"]))


@endpoint("DELETE", "/v1/addresses/{address}", action="addresses.release", status=204)
async def release_address(call: Call[Nothing, Nothing]) -> Reply:
    """Give an address back that leads nowhere."""
    await call.actions.addresses.release(call.caller, call.path["address"])
    return gone()


@endpoint(
    "POST",
    "/v1/addresses/{address}/assign",
    action="addresses.assign",
    takes=AssignAddress,
    gives=ReservedAddress,
)
async def assign_address(call: Call[AssignAddress, Nothing]) -> Reply:
    """Let an address lead to an instance, whichever it led to; it does when this is answered."""
    return answer(await call.actions.addresses.assign(call.caller, call.path["address"], call.body.instance))


@endpoint("POST", "/v1/addresses/{address}/unassign", action="addresses.unassign", gives=ReservedAddress)
async def unassign_address(call: Call[Nothing, Nothing]) -> Reply:
    """Let an address lead nowhere; it stays reserved."""
    return answer(await call.actions.addresses.unassign(call.caller, call.path["address"]))


@endpoint("GET", "/v1/addresses/{address}/history", action="addresses.history", gives=ListOf[Assignment])
async def address_history(call: Call[Nothing, Nothing]) -> Reply:
    """List the instances of the project that an address led to, the last one first."""
    return answer(ListOf(list(await call.actions.addresses.history(call.caller, call.path["address"]))))

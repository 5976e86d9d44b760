"""VPCs: our networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput
from insula.control.actions.networks import NetworkWish
from insula.domain.ids import Kind
from insula.domain.project_network import DEFAULT_NETWORK, ProjectNetwork
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import regions
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part, when
from insula.frontends.dialects.digitalocean.find import droplets
from insula.frontends.dialects.records import check_text, fitting, name_of, naming, numbers, of_uuid, uuid_of


class _New(msgspec.Struct):
    name: str
    region: str
    ip_range: str = ""
    description: str = ""


class _Change(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    default: bool = False


async def _views(ask: Ask, found: Sequence[ProjectNetwork]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(one.id for one in found)
    return [
        {
            "name": name_of(aliases[one.id], one.name),
            "description": aliases[one.id].facts.get("description", ""),
            "region": aliases[one.id].facts.get("region", regions.DEFAULT),
            "ip_range": one.ipv4,
            "default": one.name == DEFAULT_NETWORK,
            "id": uuid_of(one.id),
            "urn": f"do:vpc:{uuid_of(one.id)}",
            "created_at": when(one.created_at),
        }
        for one in found
    ]


async def _find(ask: Ask) -> ProjectNetwork:
    return await ask.actions.networks.show(ask.caller, of_uuid(ask.path["vpc_id"], Kind.NETWORK))


async def _name(ask: Ask, wanted: str, own: str = "") -> str:
    check_text(wanted, "name")
    taken = {one.name for one in (await ask.actions.networks.list(ask.caller)).items}
    return fitting(wanted, taken - {own}, "vpc")


@DIALECT.operation("GET", "/v2/vpcs", "vpcs_list")
async def list_vpcs(ask: Ask) -> Answer:
    found = (await ask.actions.networks.list(ask.caller)).items
    return page(ask, "vpcs", await _views(ask, part(ask, found)), len(found))


@DIALECT.operation("POST", "/v2/vpcs", "vpcs_create")
async def create_vpc(ask: Ask) -> Answer:
    wish = ask.read(_New)
    region, ours = regions.check(wish.region), await _name(ask, wish.name)
    made = await ask.actions.networks.create(ask.caller, NetworkWish(ours, wish.ip_range))
    facts = naming(wish.name, ours) | {"region": region, "description": wish.description[:1000]}
    await ask.actions.aliases.note(made.id, facts)
    return Answer({"vpc": (await _views(ask, [made]))[0]}, 201)


@DIALECT.operation("GET", "/v2/vpcs/{vpc_id}", "vpcs_get")
async def get_vpc(ask: Ask) -> Answer:
    return Answer({"vpc": (await _views(ask, [await _find(ask)]))[0]})


async def _change(ask: Ask) -> Answer:
    found, wish = await _find(ask), ask.read(_Change)
    if wish.default and found.name != DEFAULT_NETWORK:
        raise InvalidInput("The default VPC cannot be another one", why="It is the project's first", todo="Leave it")
    if wish.name is not None:
        ours = await _name(ask, wish.name, found.name)
        found = await ask.actions.networks.change(ask.caller, found.id, ours, None)
        await ask.actions.aliases.note(found.id, naming(wish.name, ours))
    if wish.description is not None:
        await ask.actions.networks.change(ask.caller, found.id, None, None)
        await ask.actions.aliases.note(found.id, {"description": wish.description[:1000]})
    return Answer({"vpc": (await _views(ask, [found]))[0]})


@DIALECT.operation("PUT", "/v2/vpcs/{vpc_id}", "vpcs_update")
async def update_vpc(ask: Ask) -> Answer:
    return await _change(ask)


@DIALECT.operation("PATCH", "/v2/vpcs/{vpc_id}", "vpcs_patch")
async def patch_vpc(ask: Ask) -> Answer:
    return await _change(ask)


@DIALECT.operation("DELETE", "/v2/vpcs/{vpc_id}", "vpcs_delete")
async def delete_vpc(ask: Ask) -> Answer:
    await ask.actions.networks.delete(ask.caller, (await _find(ask)).id)
    return Answer(status=204)


@DIALECT.operation("GET", "/v2/vpcs/{vpc_id}/members", "vpcs_list_members")
async def list_members(ask: Ask) -> Answer:
    network = await _find(ask)
    found = [one for one in await droplets(ask) if any(port.network_id == network.id for port in one.ports)]
    if (kind := ask.query.get("resource_type", "")) not in {"", "droplet"}:
        found = [] if kind else found
    aliases = await ask.actions.aliases.of(one.id for one in found)
    known = await numbers(ask, [one.id for one in found])
    shown = [
        {
            "name": name_of(aliases[one.id], one.name),
            "urn": f"do:droplet:{known[one.id]}",
            "created_at": when(one.created_at),
        }
        for one in part(ask, found)
    ]
    return page(ask, "members", shown, len(found))


@DIALECT.operation("GET", "/v2/vpcs/{vpc_id}/peerings", "vpcs_list_peerings")
async def list_peerings(ask: Ask) -> Answer:
    await _find(ask)
    return page(ask, "peerings", [], 0)

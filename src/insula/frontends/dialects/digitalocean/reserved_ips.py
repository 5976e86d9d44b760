"""Reserved IPs, also under their old name, floating IPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput
from insula.control.actions.addresses import AddressWish
from insula.domain.address import ReservedAddress
from insula.domain.operation import Operation, Verb
from insula.frontends.dialects import history, public_ips
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import actions, droplet_view, regions
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.find import droplets, named_droplets
from insula.frontends.dialects.records import numbers, project_uuid, unknown


class _New(msgspec.Struct):
    droplet_id: int | None = None
    region: str = ""


class _Wish(msgspec.Struct):
    type: str
    droplet_id: int | None = None


async def _views(ask: Ask, found: Sequence[ReservedAddress]) -> list[dict[str, Any]]:
    holders = {one.id: one for one in await droplets(ask)}
    held = [holders[one.instance_id] for one in found if one.instance_id in holders]
    shown = dict(zip((one.id for one in held), await droplet_view.views(ask, held), strict=True))
    aliases = await ask.actions.aliases.of(one.id for one in found)
    return [
        {
            "ip": one.address,
            "region": regions.view(aliases[one.id].facts.get("region", regions.DEFAULT)),
            "droplet": shown.get(one.instance_id or "") or None,
            "locked": False,
            "project_id": project_uuid(one.project),
        }
        for one in found
    ]


async def _find(ask: Ask) -> ReservedAddress:
    text = ask.path["ip"]
    for one in await public_ips.reserved(ask):
        if one.address == text:
            return one
    raise unknown("reserved IP", text)


async def _list(ask: Ask, name: str) -> Answer:
    found = await public_ips.reserved(ask)
    return page(ask, name, await _views(ask, part(ask, found)), len(found))


async def _create(ask: Ask, name: str) -> Answer:
    wish = ask.read(_New)
    if wish.droplet_id is None and not wish.region:
        raise InvalidInput("region or droplet_id is missing", why="One of them says where it is", todo="Send one")
    region = regions.check(wish.region)
    holder = None
    if wish.droplet_id is not None:
        (holder,) = await named_droplets(ask, [wish.droplet_id], "droplet_id")
    made = await ask.actions.addresses.reserve(ask.caller, AddressWish())
    await ask.actions.aliases.note(made.id, {"region": region})
    links: dict[str, list[dict[str, Any]]] = {"droplets": [], "actions": []}
    if holder is not None:
        made = await ask.actions.addresses.assign(ask.caller, made.id, holder.id)
        number = (await numbers(ask, [holder.id]))[holder.id]
        links["droplets"].append({"id": number, "rel": "droplet", "href": f"{ask.root}/v2/droplets/{number}"})
        operation = await history.last(ask, made.id, Verb.ASSIGN_ADDRESS)
        links["actions"].append(await actions.link(ask, operation, "assign_ip"))
    return Answer({name: (await _views(ask, [made]))[0], "links": links}, 202)


async def _get(ask: Ask, name: str) -> Answer:
    return Answer({name: (await _views(ask, [await _find(ask)]))[0]})


async def _delete(ask: Ask) -> Answer:
    """One that leads to a droplet is taken from it first, as there."""
    found = await _find(ask)
    if found.instance_id is not None:
        await ask.actions.addresses.unassign(ask.caller, found.id)
    await ask.actions.addresses.release(ask.caller, found.id)
    return Answer(status=204)


async def _act(ask: Ask) -> Answer:
    found, wish = await _find(ask), ask.read(_Wish)
    if wish.type == "assign" and wish.droplet_id is not None:
        (holder,) = await named_droplets(ask, [wish.droplet_id], "droplet_id")
        await ask.actions.addresses.assign(ask.caller, found.id, holder.id)
        operation = await history.last(ask, found.id, Verb.ASSIGN_ADDRESS)
    elif wish.type == "unassign":
        await ask.actions.addresses.unassign(ask.caller, found.id)
        operation = await history.last(ask, found.id, Verb.UNASSIGN_ADDRESS)
    else:
        raise InvalidInput(
            "This action of a reserved IP cannot be done",
            why="There are unassign, and assign with a droplet_id",
            todo="Send one of them",
            fields={"type": "unknown, or droplet_id is missing"},
        )
    return Answer({"action": await _action(ask, operation)}, 201)


async def _action(ask: Ask, operation: Operation) -> dict[str, Any]:
    return {**await actions.view(ask, operation), "project_id": project_uuid(operation.project)}


async def _get_action(ask: Ask) -> Answer:
    found, operation = await _find(ask), await actions.find(ask, ask.path["action_id"])
    if operation.target != found.id:
        raise unknown("action", ask.path["action_id"])
    return Answer({"action": await _action(ask, operation)})


async def _list_actions(ask: Ask) -> Answer:
    return await actions.listed(ask, (await _find(ask)).id)


def _register(path: str, name: str, words: str) -> None:
    """All operations under one of the two names."""

    async def list_addresses(ask: Ask) -> Answer:
        return await _list(ask, f"{name}s")

    async def create_address(ask: Ask) -> Answer:
        return await _create(ask, name)

    async def get_address(ask: Ask) -> Answer:
        return await _get(ask, name)

    of_actions = f"{words}Actions" if words == "reservedIPs" else f"{words}Action"
    DIALECT.operation("GET", path, f"{words}_list")(list_addresses)
    DIALECT.operation("POST", path, f"{words}_create")(create_address)
    DIALECT.operation("GET", f"{path}/{{ip}}", f"{words}_get")(get_address)
    DIALECT.operation("DELETE", f"{path}/{{ip}}", f"{words}_delete")(_delete)
    DIALECT.operation("GET", f"{path}/{{ip}}/actions", f"{of_actions}_list")(_list_actions)
    DIALECT.operation("POST", f"{path}/{{ip}}/actions", f"{of_actions}_post")(_act)
    DIALECT.operation("GET", f"{path}/{{ip}}/actions/{{action_id}}", f"{of_actions}_get")(_get_action)


_register("/v2/reserved_ips", "reserved_ip", "reservedIPs")
_register("/v2/floating_ips", "floating_ip", "floatingIPs")

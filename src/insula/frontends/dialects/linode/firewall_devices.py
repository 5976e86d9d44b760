"""Devices: which Linodes a firewall is for. Each such pair has a number of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, NotFound, Unsupported
from insula.domain.ids import Kind
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.find import linodes, named
from insula.frontends.dialects.linode.firewall_view import entities
from insula.frontends.dialects.linode.records import in_path
from insula.frontends.dialects.records import numbered, unknown

_PLACE = "/networking/firewalls/{firewall}/devices"


class _New(msgspec.Struct):
    id: int
    type: str = "linode"


def _record(firewall: ProjectFirewall, instance_id: str) -> str:
    return f"device:{firewall.id}:{instance_id}"


async def _find(ask: Ask) -> ProjectFirewall:
    return await ask.actions.firewalls.show(ask.caller, await in_path(ask, "firewall", Kind.FIREWALL))


async def _devices(ask: Ask, firewall: ProjectFirewall) -> Mapping[int, tuple[str, dict[str, Any]]]:
    """By number: our id of the instance, and what is told."""
    known = await entities(ask, [one for one in await linodes(ask) if one.id in firewall.instances])
    aliases = await ask.actions.aliases.of(_record(firewall, instance_id) for instance_id in known)
    found = {}
    for instance_id, entity in known.items():
        number = aliases[_record(firewall, instance_id)].number
        shown = {
            "id": number,
            "entity": entity,
            "created": when(firewall.created_at),
            "updated": when(firewall.updated_at),
        }
        found[number] = (instance_id, shown)
    return found


async def _in_path(ask: Ask) -> tuple[ProjectFirewall, str, dict[str, Any]]:
    firewall = await _find(ask)
    for number, (instance_id, shown) in (await _devices(ask, firewall)).items():
        if str(number) == ask.path["device"]:
            return firewall, instance_id, shown
    raise unknown("device", ask.path["device"])


async def wanted(ask: Ask, number: int) -> ProjectFirewall:
    """The one that a body names. Raises InvalidInput."""
    try:
        return await ask.actions.firewalls.show(ask.caller, await numbered(ask, str(number), Kind.FIREWALL))
    except NotFound as error:
        raise InvalidInput(
            "firewall_id is not valid",
            why=error.why,
            todo="Look at /networking/firewalls",
            fields={"firewall_id": "unknown"},
        ) from error


@DIALECT.operation("GET", _PLACE, "firewalls.devices-list")
async def list_devices(ask: Ask) -> Answer:
    return page(ask, [shown for _, shown in (await _devices(ask, await _find(ask))).values()])


@DIALECT.operation("POST", _PLACE, "firewalls.device-create")
async def create_device(ask: Ask) -> Answer:
    firewall, wish = await _find(ask), ask.read(_New)
    if wish.type != "linode":
        raise Unsupported(
            "Firewalls are for Linodes here", why=f"{wish.type[:40]} is another thing", todo="Send type linode"
        )
    (instance,) = await named(ask, [wish.id], "id")
    changed = await ask.actions.firewalls.apply(ask.caller, firewall.id, (instance.id,), ())
    for instance_id, shown in (await _devices(ask, changed)).values():
        if instance_id == instance.id:
            return Answer(shown)
    raise unknown("Linode", str(wish.id))


@DIALECT.operation("GET", f"{_PLACE}/{{device}}", "firewalls.device-view")
async def get_device(ask: Ask) -> Answer:
    return Answer((await _in_path(ask))[2])


@DIALECT.operation("DELETE", f"{_PLACE}/{{device}}", "firewalls.device-delete")
async def delete_device(ask: Ask) -> Answer:
    firewall, instance_id, _ = await _in_path(ask)
    await ask.actions.firewalls.lift(ask.caller, firewall.id, (instance_id,), ())
    return nothing()

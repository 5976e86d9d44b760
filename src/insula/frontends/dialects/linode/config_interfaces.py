"""Interfaces of configuration profiles: the cards that a Linode has, whichever profile is looked at."""

from __future__ import annotations

from typing import Any

import msgspec

from insula.base.errors import Unsupported
from insula.domain.instance import Instance, InstanceState
from insula.domain.port import Port
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.linode.vpc_records import all_vpcs, record_of, subnet_named
from insula.frontends.dialects.records import numbers, unknown


class _New(msgspec.Struct):
    purpose: str
    subnet_id: int | None = None
    primary: bool = False
    ip_ranges: list[str] = []
    ipv4: dict[str, Any] | None = None


async def attach_interface(ask: Ask, instance: Instance) -> dict[str, Any]:
    """A further card, in a subnet. Raises InvalidInput, Unsupported."""
    wish = ask.read(_New)
    if wish.purpose != "vpc" or wish.primary or wish.ip_ranges or any((wish.ipv4 or {}).values()):
        raise Unsupported(
            "Such an interface cannot be had",
            why="Further cards are in subnets of VPCs, are not primary, and get an address that is free there",
            todo="Send purpose vpc and subnet_id",
        )
    network = await subnet_named(ask, wish.subnet_id)
    changed = await ask.actions.networks.attach(ask.caller, instance.id, network)
    known = await numbers(ask, [port.id for port in changed.ports])
    number = next(known[port.id] for port in changed.ports if port.network_id == network)
    return next(one for one in await interface_views(ask, changed) if one["id"] == number)


async def detach_interface(ask: Ask, instance: Instance, number: str) -> None:
    """Raises NotFound, Conflict for the first one."""
    known = await numbers(ask, [port.id for port in instance.ports])
    for port in instance.ports:
        if str(known[port.id]) == number:
            await ask.actions.networks.detach(ask.caller, instance.id, port.network_id)
            return
    raise unknown("interface", number)


async def interface_views(ask: Ask, instance: Instance) -> list[dict[str, Any]]:
    """A card in a subnet of a VPC that was made here is of that; another one leads outside."""
    vpcs = {network.id: (vpc, network) for vpc in await all_vpcs(ask) if vpc.is_declared for network in vpc.subnets}
    inside = [vpcs[port.network_id] for port in instance.ports if port.network_id in vpcs]
    records = [port.id for port in instance.ports]
    records += [record for vpc, network in inside for record in (record_of(ask, vpc.key), network.id)]
    known = await numbers(ask, records)
    shown = []
    for number, port in enumerate(instance.ports):
        view: dict[str, Any] = {
            "id": known[port.id],
            "active": instance.state is InstanceState.RUNNING,
            "primary": number == 0,
            "purpose": "public",
            "label": None,
            "ipam_address": None,
            "ip_ranges": [],
            "ipv4": None,
            "ipv6": None,
            "subnet_id": None,
            "vpc_id": None,
        }
        if port.network_id in vpcs:
            vpc, network = vpcs[port.network_id]
            view |= {"subnet_id": known[network.id], "vpc_id": known[record_of(ask, vpc.key)]}
            view |= _in_vpc(port, network)
        shown.append(view)
    return shown


def _in_vpc(port: Port, network: ProjectNetwork) -> dict[str, Any]:
    slaac = [{"address": port.ipv6, "range": network.ipv6}] if port.ipv6 else []
    return {
        "purpose": "vpc",
        "ipv4": {"vpc": port.ipv4, "nat_1_1": None},
        "ipv6": {"is_public": False, "ranges": [], "slaac": slaac},
    }

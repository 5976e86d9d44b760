"""The addresses that Linodes have in VPCs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from insula.domain.instance import Instance
from insula.domain.port import Port
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page
from insula.frontends.dialects.linode.vpc_records import Around, Vpc, all_vpcs, around, record_of, vpc_in_path


@dataclass(frozen=True)
class _Card:
    """A Linode's place in a subnet."""

    vpc: Vpc
    network: ProjectNetwork
    instance: Instance
    port: Port


def _cards(vpcs: Sequence[Vpc], found: Around) -> Iterator[_Card]:
    for vpc in vpcs:
        for network in vpc.subnets:
            for instance in found.instances:
                for port in instance.ports:
                    if port.network_id == network.id:
                        yield _Card(vpc, network, instance, port)


def _place(ask: Ask, card: _Card, found: Around) -> dict[str, Any]:
    """What is told of addresses of both versions."""
    return {
        "active": True,
        "vpc_id": found.aliases[record_of(ask, card.vpc.key)].number,
        "subnet_id": found.aliases[card.network.id].number,
        "linode_id": found.aliases[card.instance.id].number,
        "interface_id": found.aliases[card.port.id].number,
        "config_id": None,
        "database_id": None,
        "nodebalancer_id": None,
        "region": card.vpc.region,
    }


async def _views(ask: Ask, vpcs: Sequence[Vpc]) -> list[dict[str, Any]]:
    found = await around(ask, vpcs)
    shown = []
    for card in _cards(vpcs, found):
        if card.port.ipv4:
            prefix = ipaddress.ip_network(card.network.ipv4)
            shown.append(
                _place(ask, card, found)
                | {
                    "address": card.port.ipv4,
                    "address_range": None,
                    "nat_1_1": None,
                    "gateway": card.network.network.router4,
                    "prefix": prefix.prefixlen,
                    "subnet_mask": str(prefix.netmask),
                }
            )
    return shown


@DIALECT.operation("GET", "/vpcs/ips", "vpcs.ips-all-list")
async def list_all_addresses(ask: Ask) -> Answer:
    return page(ask, await _views(ask, await all_vpcs(ask)))


@DIALECT.operation("GET", "/vpcs/{vpc}/ips", "vpcs.ips-list")
async def list_addresses(ask: Ask) -> Answer:
    return page(ask, await _views(ask, [await vpc_in_path(ask)]))

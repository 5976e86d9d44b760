"""VPCs as records: what subnets are grouped by. A subnet is a network of ours, and those of one VPC are joined.

A VPC is no record of ours, but a fact of the project. A network that was made elsewhere is a VPC of its own.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from insula.base.errors import InvalidInput, NotFound, Unsupported
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.domain.instance import Instance
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.dialect import when
from insula.frontends.dialects.linode.find import linodes
from insula.frontends.dialects.records import name_of, numbered, unknown

_FACT = "vpc:"
_TEXTS = ("label", "description", "region", "created", "updated", "ipv6")


@dataclass(frozen=True)
class Vpc:
    """`key` is what its subnets note, or the id of the network that it is of. `ipv6` is what theirs are parts of."""

    key: str
    label: str
    description: str
    region: str
    created: str
    updated: str
    subnets: tuple[ProjectNetwork, ...]
    ipv6: str = ""

    @property
    def is_declared(self) -> bool:
        """Whether it was made here, and may be changed here."""
        return not (self.subnets and self.key == self.subnets[0].id)


@dataclass(frozen=True)
class Around:
    """What VPCs are shown with."""

    aliases: Mapping[str, Alias]
    instances: Sequence[Instance]


def record_of(ask: Ask, key: str) -> str:
    """What a VPC's number belongs to."""
    return f"{_FACT}{ask.caller.project}:{key}"


def new_range() -> str:
    """A range of IPv6 that is nobody else's (RFC 4193), as large as theirs are."""
    return f"{ipaddress.IPv6Address(0xFD << 120 | secrets.randbits(40) << 80)}/{regions.VPC_PREFIX}"


async def all_vpcs(ask: Ask) -> Sequence[Vpc]:
    networks = (await ask.actions.networks.list(ask.caller)).items
    aliases = await ask.actions.aliases.of(one.id for one in networks)
    facts = await ask.actions.aliases.of_project(ask.caller)
    declared = {name.removeprefix(_FACT): json.loads(text) for name, text in facts.items() if name.startswith(_FACT)}
    of: dict[str, list[ProjectNetwork]] = {key: [] for key in declared}
    found = []
    for network in networks:
        key = aliases[network.id].facts.get("vpc", "")
        if key in of:
            of[key].append(network)
            continue
        created = when(network.created_at)
        found.append(Vpc(network.id, network.name, "", regions.DEFAULT, created, created, (network,)))
    return [*found, *(Vpc(key, subnets=tuple(of[key]), **texts) for key, texts in declared.items())]


async def vpc_of_key(ask: Ask, key: str) -> Vpc:
    """One that is there."""
    return next(one for one in await all_vpcs(ask) if one.key == key)


async def vpc_in_path(ask: Ask) -> Vpc:
    """Raises NotFound."""
    text = ask.path["vpc"]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        record = await ask.actions.aliases.record_of(int(text))
        for vpc in await all_vpcs(ask):
            if record_of(ask, vpc.key) == record:
                return vpc
    raise unknown("VPC", text)


async def subnet_in_path(ask: Ask) -> tuple[Vpc, ProjectNetwork]:
    """Raises NotFound."""
    vpc = await vpc_in_path(ask)
    record = await numbered(ask, ask.path["subnet"], Kind.NETWORK)
    for network in vpc.subnets:
        if network.id == record:
            return vpc, network
    raise unknown("subnet", ask.path["subnet"])


async def subnet_named(ask: Ask, number: int | None) -> str:
    """Our id of the one that a body names. Raises InvalidInput."""
    try:
        record = await numbered(ask, str(number), Kind.NETWORK)
        return (await ask.actions.networks.show(ask.caller, record)).id
    except NotFound as error:
        raise InvalidInput(
            "subnet_id is not valid", why=error.why, todo="Look at /vpcs", fields={"subnet_id": "unknown subnet"}
        ) from error


async def around(ask: Ask, vpcs: Sequence[Vpc]) -> Around:
    instances = await linodes(ask)
    records = [record_of(ask, vpc.key) for vpc in vpcs] + [network.id for vpc in vpcs for network in vpc.subnets]
    records += [record for one in instances for record in (one.id, *(port.id for port in one.ports))]
    return Around(await ask.actions.aliases.of(records), instances)


async def views(ask: Ask, vpcs: Sequence[Vpc]) -> list[dict[str, Any]]:
    found = await around(ask, vpcs)
    return [
        {
            "id": found.aliases[record_of(ask, vpc.key)].number,
            "label": vpc.label,
            "description": vpc.description,
            "region": vpc.region,
            "ipv4": [{"range": network.ipv4} for network in vpc.subnets if network.ipv4],
            "ipv6": [{"range": prefix} for prefix in _ranges6(vpc)],
            "subnets": [subnet_view(network, found) for network in vpc.subnets],
            "vpc_type": "regular",
            "created": vpc.created,
            "updated": vpc.updated,
        }
        for vpc in vpcs
    ]


def _ranges6(vpc: Vpc) -> list[str]:
    return [vpc.ipv6] if vpc.ipv6 else [network.ipv6 for network in vpc.subnets if network.ipv6]


def subnet_view(network: ProjectNetwork, found: Around) -> dict[str, Any]:
    inside = []
    for instance in found.instances:
        cards = [port.id for port in instance.ports if port.network_id == network.id]
        interfaces = [{"id": found.aliases[card].number, "active": True, "config_id": None} for card in cards]
        inside += [{"id": found.aliases[instance.id].number, "interfaces": interfaces}] if interfaces else []
    return {
        "id": found.aliases[network.id].number,
        "label": name_of(found.aliases[network.id], network.name),
        "ipv4": network.ipv4,
        "ipv6": [{"range": network.ipv6}] if network.ipv6 else [],
        "linodes": inside,
        "databases": [],
        "nodebalancers": [],
        "vpc_type": "regular",
        "created": when(network.created_at),
        "updated": when(network.created_at),
    }


async def declare(ask: Ask, vpc: Vpc) -> None:
    """Note a VPC that is new, or was changed."""
    facts = {f"{_FACT}{vpc.key}": json.dumps({name: getattr(vpc, name) for name in _TEXTS})}
    await ask.actions.aliases.describe_project(ask.caller, facts)
    await ask.actions.aliases.of([record_of(ask, vpc.key)])


async def forget(ask: Ask, vpc: Vpc) -> None:
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{vpc.key}": ""})


def check_declared(vpc: Vpc) -> None:
    """Raises Unsupported for what was made elsewhere."""
    if not vpc.is_declared:
        raise Unsupported(
            "This VPC stays as it is", why="It is a network that was made elsewhere", todo="Use `insula network`"
        )

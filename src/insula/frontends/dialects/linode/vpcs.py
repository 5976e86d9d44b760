"""VPCs: what subnets are grouped by. A subnet is a network of ours, and those of one VPC are joined.

A VPC is no record of ours, but a fact of the project. A network that was made elsewhere is a VPC of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import InsulaError, InvalidInput, NotFound, Unsupported
from insula.control.actions.networks import NetworkWish
from insula.domain.alias import Alias
from insula.domain.ids import Kind
from insula.domain.instance import Instance
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.find import linodes
from insula.frontends.dialects.linode.records import check_label, check_ours
from insula.frontends.dialects.records import fitting, name_of, naming, numbered, unknown

_FACT = "vpc:"
_VPCS, _SUBNETS = "/vpcs", "/vpcs/{vpc}/subnets"


class Interface(msgspec.Struct):
    """What a Linode's card shall lead to, in both of their shapes."""

    purpose: str = "public"
    subnet_id: int | None = None
    vpc: dict[str, Any] | None = None
    vlan: dict[str, Any] | None = None


class _NewSubnet(msgspec.Struct):
    label: str
    ipv4: str = ""


class _New(msgspec.Struct):
    label: str
    region: str
    description: str = ""
    subnets: list[_NewSubnet] = []


class _Change(msgspec.Struct):
    label: str | None = None
    description: str | None = None


class _Label(msgspec.Struct):
    label: str


@dataclass(frozen=True)
class _Vpc:
    """`key` is what its subnets note, or the id of the network that it is of."""

    key: str
    label: str
    description: str
    region: str
    created: str
    updated: str
    subnets: tuple[ProjectNetwork, ...]


@dataclass(frozen=True)
class _Around:
    """What VPCs are shown with."""

    aliases: Mapping[str, Alias]
    instances: Sequence[Instance]


def _record(ask: Ask, key: str) -> str:
    return f"{_FACT}{ask.caller.project}:{key}"


async def _vpcs(ask: Ask) -> Sequence[_Vpc]:
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
        found.append(_Vpc(network.id, network.name, "", regions.DEFAULT, created, created, (network,)))
    return [*found, *(_Vpc(key, subnets=tuple(of[key]), **texts) for key, texts in declared.items())]


async def _find(ask: Ask) -> _Vpc:
    text = ask.path["vpc"]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        record = await ask.actions.aliases.record_of(int(text))
        for vpc in await _vpcs(ask):
            if _record(ask, vpc.key) == record:
                return vpc
    raise unknown("VPC", text)


async def _subnet(ask: Ask) -> tuple[_Vpc, ProjectNetwork]:
    vpc = await _find(ask)
    record = await numbered(ask, ask.path["subnet"], Kind.NETWORK)
    for network in vpc.subnets:
        if network.id == record:
            return vpc, network
    raise unknown("subnet", ask.path["subnet"])


async def _around(ask: Ask, vpcs: Sequence[_Vpc]) -> _Around:
    instances = await linodes(ask)
    records = [_record(ask, vpc.key) for vpc in vpcs] + [network.id for vpc in vpcs for network in vpc.subnets]
    records += [record for one in instances for record in (one.id, *(port.id for port in one.ports))]
    return _Around(await ask.actions.aliases.of(records), instances)


async def _views(ask: Ask, vpcs: Sequence[_Vpc]) -> list[dict[str, Any]]:
    around = await _around(ask, vpcs)
    return [
        {
            "id": around.aliases[_record(ask, vpc.key)].number,
            "label": vpc.label,
            "description": vpc.description,
            "region": vpc.region,
            "ipv4": [{"range": network.ipv4} for network in vpc.subnets if network.ipv4],
            "ipv6": [{"range": network.ipv6} for network in vpc.subnets if network.ipv6],
            "subnets": [_subnet_view(network, around) for network in vpc.subnets],
            "vpc_type": "regular",
            "created": vpc.created,
            "updated": vpc.updated,
        }
        for vpc in vpcs
    ]


def _subnet_view(network: ProjectNetwork, around: _Around) -> dict[str, Any]:
    inside = []
    for instance in around.instances:
        cards = [port.id for port in instance.ports if port.network_id == network.id]
        interfaces = [{"id": around.aliases[card].number, "active": True, "config_id": None} for card in cards]
        inside += [{"id": around.aliases[instance.id].number, "interfaces": interfaces}] if interfaces else []
    return {
        "id": around.aliases[network.id].number,
        "label": name_of(around.aliases[network.id], network.name),
        "ipv4": network.ipv4,
        "ipv6": [{"range": network.ipv6}] if network.ipv6 else [],
        "linodes": inside,
        "databases": [],
        "nodebalancers": [],
        "vpc_type": "regular",
        "created": when(network.created_at),
        "updated": when(network.created_at),
    }


async def _answer(ask: Ask, key: str) -> Answer:
    vpc = next(one for one in await _vpcs(ask) if one.key == key)
    return Answer((await _views(ask, [vpc]))[0])


async def _declare(ask: Ask, vpc: _Vpc) -> None:
    texts = {name: getattr(vpc, name) for name in ("label", "description", "region", "created", "updated")}
    facts = {f"{_FACT}{vpc.key}": json.dumps(texts)}
    record = _record(ask, vpc.key)
    await ask.actions.aliases.describe_project(ask.caller, facts)
    await ask.actions.aliases.of([record])


@DIALECT.operation("GET", _VPCS, "vpcs.list")
async def list_vpcs(ask: Ask) -> Answer:
    return page(ask, await _views(ask, await _vpcs(ask)))


@DIALECT.operation("POST", _VPCS, "vpcs.create")
async def create_vpc(ask: Ask) -> Answer:
    wish = ask.read(_New)
    region = regions.check(wish.region)
    check_label(wish.label)
    check_ours(wish.label, {vpc.label for vpc in await _vpcs(ask)}, "VPCs")
    now = when(now_utc())
    made = _Vpc(secrets.token_hex(8), wish.label, wish.description[:1000], region, now, now, ())
    await _declare(ask, made)
    try:
        for subnet in wish.subnets:
            await _add_subnet(ask, made.key, subnet)
    except InsulaError:
        await _delete(ask, next(one for one in await _vpcs(ask) if one.key == made.key))
        raise
    return await _answer(ask, made.key)


async def _add_subnet(ask: Ask, key: str, wish: _NewSubnet) -> ProjectNetwork:
    vpc = next(one for one in await _vpcs(ask) if one.key == key)
    check_label(wish.label)
    aliases = await ask.actions.aliases.of(one.id for one in vpc.subnets)
    check_ours(wish.label, {name_of(aliases[one.id], one.name) for one in vpc.subnets}, "subnets of this VPC")
    if not wish.ipv4:
        raise InvalidInput(
            "ipv4 is required", why="It is the subnet's range", todo="Send it", fields={"ipv4": "missing"}
        )
    taken = {one.name for one in (await ask.actions.networks.list(ask.caller)).items}
    ours = fitting(f"{vpc.label}-{wish.label}", taken, "subnet")
    made = await ask.actions.networks.create(ask.caller, NetworkWish(ours, wish.ipv4))
    await ask.actions.aliases.note(made.id, naming(wish.label, ours) | {"vpc": key})
    for other in vpc.subnets:
        await ask.actions.networks.join(ask.caller, made.id, other.id)
    return made


@DIALECT.operation("GET", f"{_VPCS}/{{vpc}}", "vpcs.view")
async def get_vpc(ask: Ask) -> Answer:
    return Answer((await _views(ask, [await _find(ask)]))[0])


def _check_declared(vpc: _Vpc) -> None:
    if vpc.subnets and vpc.key == vpc.subnets[0].id:
        raise Unsupported(
            "This VPC stays as it is", why="It is a network that was made elsewhere", todo="Use `insula network`"
        )


@DIALECT.operation("PUT", f"{_VPCS}/{{vpc}}", "vpcs.update")
async def update_vpc(ask: Ask) -> Answer:
    vpc, wish = await _find(ask), ask.read(_Change)
    _check_declared(vpc)
    label = vpc.label if wish.label is None else check_label(wish.label)
    check_ours(label, {one.label for one in await _vpcs(ask) if one.key != vpc.key}, "VPCs")
    text = vpc.description if wish.description is None else wish.description[:1000]
    changed = _Vpc(vpc.key, label, text, vpc.region, vpc.created, when(now_utc()), vpc.subnets)
    await _declare(ask, changed)
    return await _answer(ask, vpc.key)


@DIALECT.operation("DELETE", f"{_VPCS}/{{vpc}}", "vpcs.delete")
async def delete_vpc(ask: Ask) -> Answer:
    """With its subnets, unless a Linode is in one of them."""
    vpc = await _find(ask)
    inside = {port.network_id for one in await linodes(ask) for port in one.ports}
    if any(network.id in inside for network in vpc.subnets):
        raise InvalidInput("VPC is in use", why="Linodes are in its subnets", todo="Delete these first")
    await _delete(ask, vpc)
    return nothing()


async def _delete(ask: Ask, vpc: _Vpc) -> None:
    for network in vpc.subnets:
        with contextlib.suppress(NotFound):
            await ask.actions.networks.delete(ask.caller, network.id)
    await ask.actions.aliases.describe_project(ask.caller, {f"{_FACT}{vpc.key}": ""})


@DIALECT.operation("GET", _SUBNETS, "vpcs.subnets-list")
async def list_subnets(ask: Ask) -> Answer:
    vpc = await _find(ask)
    around = await _around(ask, [vpc])
    return page(ask, [_subnet_view(network, around) for network in vpc.subnets])


async def _subnet_answer(ask: Ask, network: ProjectNetwork) -> Answer:
    vpc = next(one for one in await _vpcs(ask) if network.id in {each.id for each in one.subnets})
    return Answer(_subnet_view(network, await _around(ask, [vpc])))


@DIALECT.operation("POST", _SUBNETS, "vpcs.subnet-create")
async def create_subnet(ask: Ask) -> Answer:
    vpc, wish = await _find(ask), ask.read(_NewSubnet)
    _check_declared(vpc)
    return await _subnet_answer(ask, await _add_subnet(ask, vpc.key, wish))


@DIALECT.operation("GET", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-view")
async def get_subnet(ask: Ask) -> Answer:
    return await _subnet_answer(ask, (await _subnet(ask))[1])


@DIALECT.operation("PUT", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-update")
async def update_subnet(ask: Ask) -> Answer:
    """Its label, which is kept beside our name of it."""
    vpc, network = await _subnet(ask)
    label = check_label(ask.read(_Label).label)
    aliases = await ask.actions.aliases.of(one.id for one in vpc.subnets)
    others = {name_of(aliases[one.id], one.name) for one in vpc.subnets if one.id != network.id}
    check_ours(label, others, "subnets of this VPC")
    await ask.actions.aliases.describe(ask.caller, "networks.change", network.id, naming(label, network.name))
    return await _subnet_answer(ask, network)


@DIALECT.operation("DELETE", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-delete")
async def delete_subnet(ask: Ask) -> Answer:
    _, network = await _subnet(ask)
    await ask.actions.networks.delete(ask.caller, network.id)
    return nothing()


async def _addresses(ask: Ask, vpcs: Sequence[_Vpc]) -> list[dict[str, Any]]:
    around = await _around(ask, vpcs)
    shown = []
    for vpc in vpcs:
        for network in vpc.subnets:
            for instance in around.instances:
                shown += [
                    _address_view(ask, vpc, network, (around, instance, port.id, port.ipv4))
                    for port in instance.ports
                    if port.network_id == network.id and port.ipv4
                ]
    return shown


def _address_view(
    ask: Ask, vpc: _Vpc, network: ProjectNetwork, card: tuple[_Around, Instance, str, str]
) -> dict[str, Any]:
    around, instance, port_id, address = card
    prefix = ipaddress.ip_network(network.ipv4)
    return {
        "address": address,
        "address_range": None,
        "active": True,
        "vpc_id": around.aliases[_record(ask, vpc.key)].number,
        "subnet_id": around.aliases[network.id].number,
        "linode_id": around.aliases[instance.id].number,
        "interface_id": around.aliases[port_id].number,
        "config_id": None,
        "database_id": None,
        "nodebalancer_id": None,
        "nat_1_1": None,
        "gateway": network.network.router4,
        "prefix": prefix.prefixlen,
        "subnet_mask": str(prefix.netmask),
        "region": vpc.region,
    }


@DIALECT.operation("GET", f"{_VPCS}/ips", "vpcs.ips-all-list")
async def list_all_addresses(ask: Ask) -> Answer:
    return page(ask, await _addresses(ask, await _vpcs(ask)))


@DIALECT.operation("GET", f"{_VPCS}/{{vpc}}/ips", "vpcs.ips-list")
async def list_addresses(ask: Ask) -> Answer:
    return page(ask, await _addresses(ask, [await _find(ask)]))


async def network_of(ask: Ask, interfaces: Sequence[Interface]) -> str:
    """Our id of the network that a new Linode shall be in, empty for the first. Raises InvalidInput, Unsupported."""
    wanted = [number for one in interfaces if (number := _subnet_number(one)) is not None]
    if len(wanted) > 1 or any(one.purpose == "vlan" or one.vlan for one in interfaces):
        raise Unsupported(
            "A new Linode is in one subnet", why="Further cards are added later", todo="Use `insula network attach`"
        )
    if not wanted:
        return ""
    try:
        return await numbered(ask, str(wanted[0]), Kind.NETWORK)
    except NotFound as error:
        raise InvalidInput(
            "subnet_id is not valid", why=error.why, todo="Look at /vpcs", fields={"interfaces": "unknown subnet"}
        ) from error


def _subnet_number(interface: Interface) -> int | None:
    if interface.vpc is not None:
        number = interface.vpc.get("subnet_id")
        return number if isinstance(number, int) else None
    return interface.subnet_id if interface.purpose == "vpc" else None

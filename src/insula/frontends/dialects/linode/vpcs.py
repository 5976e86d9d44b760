"""VPCs and their subnets: made, changed and deleted."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from insula.base.clock import now_utc
from insula.base.errors import CapacityExceeded, InsulaError, InvalidInput, NotFound, Unsupported
from insula.control.actions.networks import NetworkWish
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page, when
from insula.frontends.dialects.linode.find import linodes
from insula.frontends.dialects.linode.records import check_dashed, check_ours
from insula.frontends.dialects.linode.vpc_records import (
    Vpc,
    all_vpcs,
    around,
    check_declared,
    declare,
    forget,
    new_range,
    subnet_in_path,
    subnet_named,
    subnet_view,
    views,
    vpc_in_path,
    vpc_of_key,
)
from insula.frontends.dialects.records import fitting, name_of, naming

_VPCS, _SUBNETS = "/vpcs", "/vpcs/{vpc}/subnets"
_CHOSEN = "auto"  # a range that is not named
_SUBNET_PREFIX = 64


class Interface(msgspec.Struct):
    """What a Linode's card shall lead to, in both of their shapes."""

    purpose: str = "public"
    subnet_id: int | None = None
    vpc: dict[str, Any] | None = None
    vlan: dict[str, Any] | None = None


class _Range(msgspec.Struct):
    range: str = _CHOSEN


class _NewSubnet(msgspec.Struct):
    label: str
    ipv4: str = ""
    ipv6: list[_Range] = []


class _New(msgspec.Struct):
    label: str
    region: str
    description: str = ""
    ipv6: list[_Range] = []
    subnets: list[_NewSubnet] = []


class _Change(msgspec.Struct):
    label: str | None = None
    description: str | None = None


class _Label(msgspec.Struct):
    label: str


async def _answer(ask: Ask, key: str) -> Answer:
    return Answer((await views(ask, [await vpc_of_key(ask, key)]))[0])


@DIALECT.operation("GET", _VPCS, "vpcs.list")
async def list_vpcs(ask: Ask) -> Answer:
    return page(ask, await views(ask, await all_vpcs(ask)))


@DIALECT.operation("POST", _VPCS, "vpcs.create")
async def create_vpc(ask: Ask) -> Answer:
    """Its range of IPv6 is chosen, whether one is asked for or not: subnets have IPv6 here."""
    wish = ask.read(_New)
    region = regions.check(wish.region)
    check_dashed(wish.label)
    _check_chosen(wish.ipv6, regions.VPC_PREFIX)
    check_ours(wish.label, {vpc.label for vpc in await all_vpcs(ask)}, "VPCs")
    now = when(now_utc())
    made = Vpc(secrets.token_hex(8), wish.label, wish.description[:1000], region, now, now, (), new_range())
    await declare(ask, made)
    try:
        for subnet in wish.subnets:
            await _add_subnet(ask, made.key, subnet)
    except InsulaError:
        await _delete(ask, await vpc_of_key(ask, made.key))
        raise
    return await _answer(ask, made.key)


def _check_chosen(wanted: Sequence[_Range], prefix: int) -> None:
    """Raise InvalidInput for a range that is not left to us."""
    for number, one in enumerate(wanted):
        if one.range not in (_CHOSEN, f"/{prefix}"):
            field = f"ipv6[{number}].range"
            raise InvalidInput(
                "Must be a valid IPv6 range",
                why=f"It is chosen here, and there are /{prefix}",
                todo=f"Send {_CHOSEN} or /{prefix}",
                fields={field: f"Must be {_CHOSEN} or /{prefix}"},
            )


async def _add_subnet(ask: Ask, key: str, wish: _NewSubnet) -> ProjectNetwork:
    vpc = await vpc_of_key(ask, key)
    check_dashed(wish.label)
    aliases = await ask.actions.aliases.of(one.id for one in vpc.subnets)
    check_ours(wish.label, {name_of(aliases[one.id], one.name) for one in vpc.subnets}, "subnets of this VPC")
    new = NetworkWish(ipv4=_range4(wish.ipv4), ipv6=_range6(vpc, wish.ipv6), name="")
    taken = {one.name for one in (await ask.actions.networks.list(ask.caller)).items}
    ours = fitting(f"{vpc.label}-{wish.label}", taken, "subnet")
    made = await ask.actions.networks.create(ask.caller, replace(new, name=ours))
    await ask.actions.aliases.note(made.id, naming(wish.label, ours) | {"vpc": key})
    for other in vpc.subnets:
        await ask.actions.networks.join(ask.caller, made.id, other.id)
    return made


def _range4(text: str) -> str:
    """Raises InvalidInput."""
    if not text:
        raise InvalidInput(
            "ipv4 is required", why="It is the subnet's range", todo="Send it", fields={"ipv4": "missing"}
        )
    with contextlib.suppress(ValueError):
        if "/" in text:
            return str(ipaddress.IPv4Network(text))
    raise InvalidInput(
        "Must be an IPv4 network",
        why=f"{text[:40]!r} is none",
        todo="Send one like 10.0.0.0/24",
        fields={"ipv4": "Must be an IPv4 network"},
    )


def _range6(vpc: Vpc, wanted: Sequence[_Range]) -> str:
    """What is named, or the next part of the VPC's range; empty to let the network have one of its own.

    Raises InvalidInput, CapacityExceeded.
    """
    named = [one.range for one in wanted if one.range not in (_CHOSEN, f"/{_SUBNET_PREFIX}")]
    if len(wanted) > 1:
        raise _wrong6("There is one range in a subnet", "Must be one range")
    if named:
        return _named6(vpc, named[0])
    if not vpc.ipv6:
        return ""
    taken = {one.ipv6 for one in vpc.subnets}
    for part in ipaddress.IPv6Network(vpc.ipv6).subnets(new_prefix=_SUBNET_PREFIX):
        if str(part) not in taken:
            return str(part)
    raise CapacityExceeded(
        "The VPC has no IPv6 range left", why=f"All of {vpc.ipv6} is in its subnets", todo="Delete one of them"
    )


def _named6(vpc: Vpc, text: str) -> str:
    try:
        found = ipaddress.IPv6Network(text)
    except ValueError as error:
        raise _wrong6(f"{text[:60]!r} is none", "Must be an IPv6 network") from error
    if not vpc.ipv6 or not found.subnet_of(ipaddress.IPv6Network(vpc.ipv6)) or found.prefixlen != _SUBNET_PREFIX:
        place = vpc.ipv6 or "none"
        raise _wrong6(f"The VPC's range is {place}", f"Must be a /{_SUBNET_PREFIX} inside of it, or {_CHOSEN}")
    return str(found)


def _wrong6(why: str, what: str) -> InvalidInput:
    return InvalidInput(what, why=why, todo=f"Send {_CHOSEN}", fields={"ipv6[0].range": what})


@DIALECT.operation("GET", f"{_VPCS}/{{vpc}}", "vpcs.view")
async def get_vpc(ask: Ask) -> Answer:
    return Answer((await views(ask, [await vpc_in_path(ask)]))[0])


@DIALECT.operation("PUT", f"{_VPCS}/{{vpc}}", "vpcs.update")
async def update_vpc(ask: Ask) -> Answer:
    vpc, wish = await vpc_in_path(ask), ask.read(_Change)
    check_declared(vpc)
    label = vpc.label if wish.label is None else check_dashed(wish.label)
    check_ours(label, {one.label for one in await all_vpcs(ask) if one.key != vpc.key}, "VPCs")
    text = vpc.description if wish.description is None else wish.description[:1000]
    await declare(ask, replace(vpc, label=label, description=text, updated=when(now_utc())))
    return await _answer(ask, vpc.key)


@DIALECT.operation("DELETE", f"{_VPCS}/{{vpc}}", "vpcs.delete")
async def delete_vpc(ask: Ask) -> Answer:
    """With its subnets, unless a Linode is in one of them."""
    vpc = await vpc_in_path(ask)
    inside = {port.network_id for one in await linodes(ask) for port in one.ports}
    if any(network.id in inside for network in vpc.subnets):
        raise InvalidInput("VPC is in use", why="Linodes are in its subnets", todo="Delete these first")
    await _delete(ask, vpc)
    return nothing()


async def _delete(ask: Ask, vpc: Vpc) -> None:
    for network in vpc.subnets:
        with contextlib.suppress(NotFound):
            await ask.actions.networks.delete(ask.caller, network.id)
    await forget(ask, vpc)


@DIALECT.operation("GET", _SUBNETS, "vpcs.subnets-list")
async def list_subnets(ask: Ask) -> Answer:
    vpc = await vpc_in_path(ask)
    found = await around(ask, [vpc])
    return page(ask, [subnet_view(network, found) for network in vpc.subnets])


async def _subnet_answer(ask: Ask, network: ProjectNetwork) -> Answer:
    vpc = next(one for one in await all_vpcs(ask) if network.id in {each.id for each in one.subnets})
    return Answer(subnet_view(network, await around(ask, [vpc])))


@DIALECT.operation("POST", _SUBNETS, "vpcs.subnet-create")
async def create_subnet(ask: Ask) -> Answer:
    vpc, wish = await vpc_in_path(ask), ask.read(_NewSubnet)
    check_declared(vpc)
    return await _subnet_answer(ask, await _add_subnet(ask, vpc.key, wish))


@DIALECT.operation("GET", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-view")
async def get_subnet(ask: Ask) -> Answer:
    return await _subnet_answer(ask, (await subnet_in_path(ask))[1])


@DIALECT.operation("PUT", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-update")
async def update_subnet(ask: Ask) -> Answer:
    """Its label, which is kept beside our name of it."""
    vpc, network = await subnet_in_path(ask)
    label = check_dashed(ask.read(_Label).label)
    aliases = await ask.actions.aliases.of(one.id for one in vpc.subnets)
    others = {name_of(aliases[one.id], one.name) for one in vpc.subnets if one.id != network.id}
    check_ours(label, others, "subnets of this VPC")
    await ask.actions.aliases.describe(ask.caller, "networks.change", network.id, naming(label, network.name))
    return await _subnet_answer(ask, network)


@DIALECT.operation("DELETE", f"{_SUBNETS}/{{subnet}}", "vpcs.subnet-delete")
async def delete_subnet(ask: Ask) -> Answer:
    _, network = await subnet_in_path(ask)
    await ask.actions.networks.delete(ask.caller, network.id)
    return nothing()


async def network_of(ask: Ask, interfaces: Sequence[Interface]) -> str:
    """Our id of the network that a new Linode shall be in, empty for the first. Raises InvalidInput, Unsupported."""
    wanted = [number for one in interfaces if (number := _subnet_number(one)) is not None]
    if len(wanted) > 1 or any(one.purpose == "vlan" or one.vlan for one in interfaces):
        raise Unsupported(
            "A new Linode is in one subnet", why="Further cards are added later", todo="Use `insula network attach`"
        )
    if not wanted:
        return ""
    return await subnet_named(ask, wanted[0])


def _subnet_number(interface: Interface) -> int | None:
    if interface.vpc is not None:
        number = interface.vpc.get("subnet_id")
        return number if isinstance(number, int) else None
    return interface.subnet_id if interface.purpose == "vpc" else None

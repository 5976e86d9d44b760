"""Addresses: reserved ones are public, others private. A Linode without a public one shows its own as that."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, Unsupported
from insula.control.actions.addresses import AddressWish
from insula.domain.address import ReservedAddress
from insula.domain.instance import Instance
from insula.domain.project_network import ProjectNetwork
from insula.frontends.dialects import public_ips
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode import regions
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page
from insula.frontends.dialects.linode.find import linode_of, linodes, named
from insula.frontends.dialects.records import name_of, unknown

_OF_LINODE = "/linode/instances/{linode}/ips"
_ALL_IPS, _RESERVED = "/networking/ips", "/networking/reserved/ips"


class _New(msgspec.Struct):
    type: str = "ipv4"
    public: bool = True
    linode_id: int | None = None
    region: str = ""
    reserved: bool = False
    address: str = ""


class _Reserve(msgspec.Struct):
    region: str
    tags: list[str] = []


class _Change(msgspec.Struct):
    rdns: str | None = None
    reserved: bool | None = None


class _Assignment(msgspec.Struct):
    address: str
    linode_id: int


class _Assignments(msgspec.Struct):
    assignments: list[_Assignment]
    region: str = ""


class _Sharing(msgspec.Struct):
    linode_id: int
    ips: list[str] = []


class _Place(msgspec.Struct):
    """What an address is shown with."""

    linode_id: int | None
    region: str
    label: str = ""
    is_reserved: bool = False
    is_public: bool = True


def _view(address: str, network: tuple[str, str, int], place: _Place) -> dict[str, Any]:
    gateway, mask, prefix = network
    holder = None
    if place.linode_id is not None:
        url = f"/v4/linode/instances/{place.linode_id}"
        holder = {"id": place.linode_id, "label": place.label, "type": "linode", "url": url}
    return {
        "address": address,
        "gateway": gateway,
        "subnet_mask": mask,
        "prefix": prefix,
        "type": "ipv6" if ":" in address else "ipv4",
        "public": place.is_public,
        "rdns": None,
        "linode_id": place.linode_id,
        "interface_id": None,
        "region": place.region,
        "vpc_nat_1_1": None,
        "reserved": place.is_reserved,
        "assigned_entity": holder,
        "tags": [],
    }


def _alone(address: str) -> tuple[str, str, int]:
    """Nobody else is in its segment."""
    prefix = ipaddress.ip_network(address)
    return address, str(prefix.netmask), prefix.prefixlen


def _inside(network: ProjectNetwork, version: int) -> tuple[str, str, int]:
    prefix = ipaddress.ip_network(network.ipv4 if version == 4 else network.ipv6)
    router = network.network.router4 if version == 4 else network.network.router6
    return router, str(prefix.netmask), prefix.prefixlen


class _There(msgspec.Struct):
    """All of the project that addresses are shown with. `own` are the ids of addresses that are Linodes' own."""

    instances: Sequence[Instance]
    addresses: Sequence[ReservedAddress]
    own: frozenset[str]
    networks: Mapping[str, ProjectNetwork]
    places: Mapping[str, _Place]

    def place(self, instance_id: str | None) -> _Place:
        return self.places.get(instance_id or "", _Place(None, regions.DEFAULT))


async def _there(ask: Ask) -> _There:
    instances = await linodes(ask)
    aliases = await ask.actions.aliases.of(one.id for one in instances)
    networks = (await ask.actions.networks.list(ask.caller)).items
    places = {
        one.id: _Place(
            aliases[one.id].number,
            aliases[one.id].facts.get("region", regions.DEFAULT),
            name_of(aliases[one.id], one.name),
        )
        for one in instances
    }
    own = frozenset(one.id for one in await public_ips.own(ask))
    addresses = (await ask.actions.addresses.list(ask.caller)).items
    return _There(instances, addresses, own, {one.id: one for one in networks}, places)


def _held(there: _There, address: ReservedAddress) -> dict[str, Any]:
    place = msgspec.structs.replace(there.place(address.instance_id), is_reserved=address.id not in there.own)
    return _view(address.address, _alone(address.address), place)


def _private(there: _There, instance: Instance, version: int, *, as_public: bool) -> list[dict[str, Any]]:
    shown = []
    for port in instance.ports:
        address, network = port.ipv4 if version == 4 else port.ipv6, there.networks.get(port.network_id)
        if address and network is not None:
            place = msgspec.structs.replace(there.place(instance.id), is_public=as_public)
            shown.append(_view(address, _inside(network, version), place))
    return shown


def _public(there: _There, instance: Instance, version: int) -> list[dict[str, Any]]:
    held = [one for one in there.addresses if one.instance_id == instance.id and (":" in one.address) is (version == 6)]
    return [_held(there, one) for one in held] or _private(there, instance, version, as_public=True)[:1]


def _all(there: _There) -> list[dict[str, Any]]:
    shown = [_held(there, one) for one in there.addresses]
    for instance in there.instances:
        for version in (4, 6):
            shown += [one for one in _public(there, instance, version) if one not in shown]
    return shown


@DIALECT.operation("GET", _OF_LINODE, "linodes.ips-list")
async def list_of_linode(ask: Ask) -> Answer:
    instance, there = await linode_of(ask), await _there(ask)
    public = _public(there, instance, 4)
    known = {one["address"] for one in public}
    private, six = _private(there, instance, 4, as_public=False), _public(there, instance, 6)
    link_local = _link_local(instance)
    inside = msgspec.structs.replace(there.place(instance.id), is_public=False)
    return Answer(
        {
            "ipv4": {
                "public": [one for one in public if not one["reserved"]],
                "private": [_brief(one) for one in private if one["address"] not in known],
                "reserved": [one for one in public if one["reserved"]],
                "shared": [],
                "vpc": [],
            },
            "ipv6": {
                "slaac": _brief(six[0]) if six else None,
                "link_local": _brief(_view(link_local, _alone(link_local), inside)) if link_local else None,
                "global": [],
            },
        }
    )


def _brief(shown: dict[str, Any]) -> dict[str, Any]:
    """Without what is told of public addresses of IPv4 alone."""
    left_out = {"interface_id", "vpc_nat_1_1", "reserved", "assigned_entity", "tags"}
    return {name: value for name, value in shown.items() if name not in left_out}


def _link_local(instance: Instance) -> str:
    """What a card's address gives (RFC 4291, appendix A)."""
    if not instance.ports:
        return ""
    octets = bytes.fromhex(instance.ports[0].mac.replace(":", ""))
    tail = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + tail))


async def _one_of_linode(ask: Ask) -> tuple[_There, dict[str, Any]]:
    instance, there = await linode_of(ask), await _there(ask)
    shown = [one for version in (4, 6) for one in _public(there, instance, version)]
    shown += [one for version in (4, 6) for one in _private(there, instance, version, as_public=False)]
    return there, _named(shown, ask.path["address"])


def _named(shown: Sequence[dict[str, Any]], address: str) -> dict[str, Any]:
    for one in shown:
        if one["address"] == address:
            return one
    raise unknown("address", address)


@DIALECT.operation("GET", f"{_OF_LINODE}/{{address}}", "linodes.ip-view")
async def get_of_linode(ask: Ask) -> Answer:
    return Answer((await _one_of_linode(ask))[1])


@DIALECT.operation("PUT", f"{_OF_LINODE}/{{address}}", "linodes.ip-update")
async def update_of_linode(ask: Ask) -> Answer:
    _, shown = await _one_of_linode(ask)
    return _unchanged(ask, shown)


def _unchanged(ask: Ask, shown: dict[str, Any]) -> Answer:
    wish = ask.read(_Change)
    if wish.rdns is not None or wish.reserved not in (None, shown["reserved"]):
        raise Unsupported(
            "Addresses have no names of their own, and stay as they are",
            why="Insula answers no reverse lookups for the outside",
            todo="Leave rdns and reserved out",
        )
    return Answer(shown)


@DIALECT.operation("POST", _OF_LINODE, "linodes.ip-add")
async def add_to_linode(ask: Ask) -> Answer:
    instance, wish = await linode_of(ask), ask.read(_New)
    return await _allocate(ask, wish, instance)


@DIALECT.operation("POST", _ALL_IPS, "networking.ip-add")
async def allocate(ask: Ask) -> Answer:
    wish = ask.read(_New)
    if wish.linode_id is None:
        raise InvalidInput(
            "linode_id is required", why="It says whose it is", todo="Send it", fields={"linode_id": "missing"}
        )
    return await _allocate(ask, wish, (await named(ask, [wish.linode_id], "linode_id"))[0])


async def _allocate(ask: Ask, wish: _New, instance: Instance) -> Answer:
    if wish.type == "ipv4" and not wish.public:
        return await _own_private(ask, instance)
    if wish.type not in ("ipv4", "ipv6") or not wish.public:
        raise Unsupported(
            "Such an address cannot be added",
            why="There are public ones, and private ones of IPv4 come with networks",
            todo="Send type ipv4 and public true",
        )
    new = AddressWish(address=wish.address, version=4 if wish.type == "ipv4" else 6, instance=instance.id)
    made = await ask.actions.addresses.reserve(ask.caller, new)
    if not wish.reserved:
        await ask.actions.aliases.note(made.id, public_ips.own_by(instance.id))
    return Answer(_held(await _there(ask), made))


async def _own_private(ask: Ask, instance: Instance) -> Answer:
    """A Linode has one from the start, and gets no other."""
    there = await _there(ask)
    public = {one["address"] for one in _public(there, instance, 4)}
    for one in _private(there, instance, 4, as_public=False):
        if one["address"] not in public:
            return Answer(one)
    raise Unsupported(
        "This Linode gets no private address",
        why="It has no public one, so that the one in its network stands in for that",
        todo="Use the address that it has",
    )


@DIALECT.operation("DELETE", f"{_OF_LINODE}/{{address}}", "linodes.ip-delete")
async def delete_of_linode(ask: Ask) -> Answer:
    instance = await linode_of(ask)
    for one in (await ask.actions.addresses.list(ask.caller)).items:
        if one.address == ask.path["address"] and one.instance_id == instance.id:
            await _release(ask, one)
            return nothing()
    raise unknown("address", ask.path["address"])


async def _release(ask: Ask, found: ReservedAddress) -> None:
    if found.instance_id is not None:
        await ask.actions.addresses.unassign(ask.caller, found.id)
    await ask.actions.addresses.release(ask.caller, found.id)


@DIALECT.operation("GET", _ALL_IPS, "networking.ips-list")
async def list_all(ask: Ask) -> Answer:
    return page(ask, _all(await _there(ask)))


@DIALECT.operation("GET", f"{_ALL_IPS}/{{address}}", "networking.ip-view")
async def get_one(ask: Ask) -> Answer:
    return Answer(_named(_all(await _there(ask)), ask.path["address"]))


@DIALECT.operation("PUT", f"{_ALL_IPS}/{{address}}", "networking.ip-update")
async def update_one(ask: Ask) -> Answer:
    return _unchanged(ask, _named(_all(await _there(ask)), ask.path["address"]))


@DIALECT.operation("POST", f"{_ALL_IPS}/assign", "networking.ip-assign")
async def assign(ask: Ask) -> Answer:
    """Each address leads to its Linode when this returns."""
    wish = ask.read(_Assignments)
    held = {one.address: one for one in (await ask.actions.addresses.list(ask.caller)).items}
    if missing := [one.address for one in wish.assignments if one.address not in held]:
        raise InvalidInput(
            "assignments name an address that is not there",
            why=f"There is no {missing[0][:60]}",
            todo="Look at /networking/ips",
            fields={"assignments": "unknown address"},
        )
    holders = await named(ask, [one.linode_id for one in wish.assignments], "assignments")
    for one, holder in zip(wish.assignments, holders, strict=True):
        await ask.actions.addresses.assign(ask.caller, held[one.address].id, holder.id)
    return nothing()


@DIALECT.operation("POST", f"{_ALL_IPS}/share", "networking.ip-share")
async def share(ask: Ask) -> Answer:
    """An address leads to one Linode; that none is shared with another is so already."""
    wish = ask.read(_Sharing)
    await named(ask, [wish.linode_id], "linode_id")
    if wish.ips:
        raise Unsupported(
            "Addresses are not shared",
            why="An address leads to one Linode at a time",
            todo="Reserve it, and assign it to whichever Linode shall have it",
        )
    return nothing()


async def _reserved(ask: Ask) -> tuple[_There, Sequence[ReservedAddress]]:
    there = await _there(ask)
    return there, [one for one in there.addresses if one.id not in there.own and ":" not in one.address]


async def _one_reserved(ask: Ask) -> tuple[_There, ReservedAddress]:
    there, found = await _reserved(ask)
    for one in found:
        if one.address == ask.path["address"]:
            return there, one
    raise unknown("reserved address", ask.path["address"])


@DIALECT.operation("GET", _RESERVED, "networking.reserved-ips-list")
async def list_reserved(ask: Ask) -> Answer:
    there, found = await _reserved(ask)
    return page(ask, [_held(there, one) for one in found])


@DIALECT.operation("POST", _RESERVED, "networking.reserved-ip-add")
async def reserve(ask: Ask) -> Answer:
    wish = ask.read(_Reserve)
    regions.check(wish.region)
    if wish.tags:
        raise Unsupported("Addresses carry no tags", why="Linodes, volumes and images do", todo="Leave tags out")
    made = await ask.actions.addresses.reserve(ask.caller, AddressWish())
    return Answer(_held(await _there(ask), made))


@DIALECT.operation("GET", f"{_RESERVED}/types", "networking.reserved-ip-types-list")
async def list_reserved_types(ask: Ask) -> Answer:
    free = {"hourly": 0.0, "monthly": 0.0}
    return page(ask, [{"id": "reserved-ipv4", "label": "Reserved IPv4", "price": free, "region_prices": []}])


@DIALECT.operation("GET", f"{_RESERVED}/{{address}}", "networking.reserved-ip-view")
async def get_reserved(ask: Ask) -> Answer:
    there, found = await _one_reserved(ask)
    return Answer(_held(there, found))


@DIALECT.operation("DELETE", f"{_RESERVED}/{{address}}", "networking.reserved-ip-delete")
async def delete_reserved(ask: Ask) -> Answer:
    _, found = await _one_reserved(ask)
    await _release(ask, found)
    return nothing()

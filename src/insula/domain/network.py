"""Networks: what a project's instances are connected to, as one whole that a node can bring about.

A *space* holds all networks of a project. Spaces cannot see each other, so their addresses may overlap; inside one they
may not. Within a network everybody reaches everybody, between two only where they are joined.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from insula.base.errors import InvalidInput
from insula.domain.firewall import HAS_PORTS, Firewall, PeerKind, Rule
from insula.domain.instance import PortForward
from insula.domain.port import MAX_PORT_NUMBER, Port

_Item = TypeVar("_Item")
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORK_NUMBER = 9999

# What the host, the way out and metadata need: no network may overlap with these.
_RESERVED = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.126.0.0/16", "224.0.0.0/3"),
        *("::/16", "fd00::/64", "fe80::/10", "ff00::/8"),
    )
)
_ID = re.compile(r"[a-z0-9_]{1,48}")
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Network:
    """One network. `number` is unique in its space and short enough for a device's name.

    `ipv4` and `ipv6` are prefixes, empty for none; the first address of each is the router's. Without `gateway` it
    leads nowhere outside.
    """

    id: str
    number: int
    ipv4: str = ""
    ipv6: str = ""
    gateway: bool = True
    mtu: int = 1500

    @property
    def router4(self) -> str:
        return _first_host(self.ipv4)

    @property
    def router6(self) -> str:
        return _first_host(self.ipv6)


@dataclass(frozen=True)
class Member:
    """An instance as its networks know it."""

    instance_id: str
    hostname: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads to a port of an instance."""

    port_id: str
    forward: PortForward


@dataclass(frozen=True)
class PublicAddress:
    """An address of the outside that stands for one of an instance's, in both directions; one that moves gets another
    `port_id`."""

    address: str
    port_id: str


@dataclass(frozen=True)
class Space:
    """Everything that a project's instances are connected by. `joined` are pairs of networks' ids."""

    id: str
    networks: tuple[Network, ...] = ()
    members: tuple[Member, ...] = ()
    ports: tuple[Port, ...] = ()
    firewalls: tuple[Firewall, ...] = ()
    joined: tuple[tuple[str, str], ...] = ()
    forwards: tuple[Forward, ...] = ()
    addresses: tuple[PublicAddress, ...] = ()


def firewalls_by_instance(space: Space) -> dict[str, tuple[Firewall, ...]]:
    """The firewalls that apply to each member, in the order in which they are asked."""
    named: dict[str, list[int]] = {}
    tagged: dict[str, list[int]] = {}
    for order, firewall in enumerate(space.firewalls):
        for instance in firewall.instances:
            named.setdefault(instance, []).append(order)
        for tag in firewall.tags:
            tagged.setdefault(tag, []).append(order)
    found = {}
    for member in space.members:
        orders = {*named.get(member.instance_id, ()), *(o for tag in member.tags for o in tagged.get(tag, ()))}
        if orders:
            found[member.instance_id] = tuple(space.firewalls[order] for order in sorted(orders))
    return found


def is_name(text: str) -> bool:
    """Whether it may be an identifier here: short, and safe in rules and paths."""
    return _ID.fullmatch(text) is not None


def check(space: Space, known: Space | None = None) -> None:
    """Raise :class:`InvalidInput` when the space contradicts itself; what passes is safe to put into rules.

    `known` has passed before: the very objects that it shares with `space` are not looked at again.
    """
    problems = [*_ids(space), *_firewalls(space, known)]
    if known is None or (space.networks, space.ports, space.members) != (known.networks, known.ports, known.members):
        problems += [*_networks(space), *_ports(space)]
    problems += [*_joined(space), *_outside(space)]
    if problems:
        raise InvalidInput(
            "These networks cannot be made",
            why="; ".join(problems[:5]),
            todo="Correct what is named",
            code="invalid-network",
        )


def sharing(space: Space, known: Space) -> Space:
    """The same space, with the objects of `known` where they are equal, so that comparing the two is quick."""
    kept: dict[object, object] = {}
    for item in (*known.networks, *known.members, *known.ports, *known.firewalls):
        kept[_name_of(item)] = item

    def shared(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
        return tuple(_known_or(item, kept.get(_name_of(item))) for item in items)

    return replace(
        space,
        networks=shared(space.networks),
        members=shared(space.members),
        ports=shared(space.ports),
        firewalls=shared(space.firewalls),
    )


def _known_or(item: _Item, known: object) -> _Item:
    return known if isinstance(known, type(item)) and (known is item or known == item) else item


def _name_of(item: object) -> object:
    return item.instance_id if isinstance(item, Member) else getattr(item, "id", None)


@lru_cache(maxsize=65536)
def parse_prefix(text: str) -> IpNetwork | None:
    """The prefix or address as a prefix; None when it is neither."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _first_host(prefix: str) -> str:
    if not prefix:
        return ""
    network = ipaddress.ip_network(prefix)
    return str(network.network_address + 1)


def _ids(space: Space) -> Iterable[str]:
    named = [space.id, *(n.id for n in space.networks), *(m.instance_id for m in space.members)]
    named += [*(p.id for p in space.ports), *(f.id for f in space.firewalls)]
    yield from (f"{text!r} is no identifier" for text in named if not _ID.fullmatch(text))
    named += [rule.id for firewall in space.firewalls for rule in firewall.rules]
    yield from (f"{text!r} is there twice" for text in sorted(_twice(named)))


def _twice(values: Iterable[object]) -> set[str]:
    seen: set[object] = set()
    return {str(value) for value in values if value in seen or seen.add(value)}  # type: ignore[func-returns-value]


def _networks(space: Space) -> Iterable[str]:
    yield from (f"network number {number} is there twice" for number in _twice(n.number for n in space.networks))
    prefixes: list[IpNetwork] = []
    for network in space.networks:
        if not 1 <= network.number <= MAX_NETWORK_NUMBER:
            yield f"network number {network.number} is not within 1 and {MAX_NETWORK_NUMBER}"
        if not 1280 <= network.mtu <= 65535:
            yield f"an MTU of {network.mtu} is not within 1280 and 65535"
        for text, version in ((network.ipv4, 4), (network.ipv6, 6)):
            prefix = parse_prefix(text) if text else None
            if text and (prefix is None or prefix.version != version or prefix.num_addresses < 4):
                yield f"{text!r} is no prefix for a network"
            elif prefix is not None:
                prefixes += [prefix]
                yield from _overlaps_reserved(prefix)
    ordered = sorted(prefixes, key=lambda prefix: (prefix.version, prefix.network_address, prefix.prefixlen))
    for one, next_one in pairwise(ordered):
        if one.version == next_one.version and one.overlaps(next_one):
            yield f"{one} and {next_one} overlap"


def _joined(space: Space) -> Iterable[str]:
    ids = {network.id for network in space.networks}
    yield from (f"{one} and {other} cannot be joined" for one, other in space.joined if not {one, other} <= ids)


def _overlaps_reserved(prefix: IpNetwork) -> Iterable[str]:
    for kept in _RESERVED:
        if kept.version == prefix.version and kept.overlaps(prefix):
            yield f"{prefix} overlaps with {kept}, which is not for networks"


def _ports(space: Space) -> Iterable[str]:
    networks = {network.id: network for network in space.networks}
    members = {member.instance_id for member in space.members}
    for what in ("number", "mac", "ipv4", "ipv6"):
        values = (getattr(port, what) for port in space.ports)
        yield from (f"{what} {value} is there twice" for value in _twice(value for value in values if value))
    for member in space.members:
        if not _HOST_NAME.fullmatch(member.hostname):
            yield f"{member.hostname!r} is no host name"
    for port in space.ports:
        network = networks.get(port.network_id)
        if network is None or port.instance_id not in members:
            yield f"port {port.id} is of an unknown network or instance"
            continue
        if not 1 <= port.number <= MAX_PORT_NUMBER or not _MAC.fullmatch(port.mac):
            yield f"port {port.id} has no proper number or MAC address"
        for text, prefix, router in (
            (port.ipv4, network.ipv4, network.router4),
            (port.ipv6, network.ipv6, network.router6),
        ):
            if text and not _is_within(text, prefix, router):
                yield f"{text!r} is no address for port {port.id}"
        yield from (f"{text!r} is no prefix" for text in port.also if parse_prefix(text) is None)


def _is_within(text: str, prefix: str, router: str) -> bool:
    network = parse_prefix(prefix) if prefix else None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if network is None or str(address) != text or address not in network:
        return False
    ends = {network.network_address, network.broadcast_address} if network.version == 4 else {network.network_address}
    return text != router and address not in ends


def _firewalls(space: Space, known: Space | None) -> Iterable[str]:
    names = _peer_names(space)
    same: set[int] = set()
    if known is not None and names == _peer_names(known):
        same = {id(firewall) for firewall in known.firewalls}
    for firewall in space.firewalls:
        if id(firewall) not in same:
            for rule in firewall.rules:
                yield from _rule(rule, names)


def _peer_names(space: Space) -> dict[PeerKind, set[str]]:
    return {
        PeerKind.NETWORK: {network.id for network in space.networks},
        PeerKind.FIREWALL: {firewall.id for firewall in space.firewalls},
    }


def _rule(rule: Rule, known: dict[PeerKind, set[str]]) -> Iterable[str]:
    if not _ID.fullmatch(rule.id):
        yield f"{rule.id!r} is no identifier"
    if rule.ports and rule.traffic not in HAS_PORTS:
        yield f"rule {rule.id} is about {rule.traffic}, which has no ports"
    for ports in rule.ports:
        if not 0 <= ports.first <= ports.last <= 65535:
            yield f"ports {ports.first} to {ports.last} of rule {rule.id} are none"
    for peer in rule.peers:
        if peer.kind is PeerKind.PREFIX and parse_prefix(peer.value) is None:
            yield f"{peer.value!r} in rule {rule.id} is no prefix"
        elif peer.kind in known and peer.value not in known[peer.kind]:
            yield f"{peer.kind} {peer.value!r} in rule {rule.id} is unknown"


def _outside(space: Space) -> Iterable[str]:
    ports = {port.id for port in space.ports}
    doors = [(f.forward.host_address, f.forward.host_port, f.forward.protocol) for f in space.forwards]
    yield from (f"forward {door} is there twice" for door in _twice(doors))
    yield from (f"address {text} is there twice" for text in _twice(a.address for a in space.addresses))
    used = [*(forward.port_id for forward in space.forwards), *(address.port_id for address in space.addresses)]
    yield from (f"{port_id} is no port" for port_id in used if port_id not in ports)
    for address in space.addresses:
        found = parse_prefix(address.address)
        if found is None or found.num_addresses != 1 or "/" in address.address:
            yield f"{address.address!r} is no address"

"""What the host itself needs for spaces that reach the outside through it: devices, routes, and one table of its own.

Each such space has a pair of devices, `isv…` on the host and `up1` inside, and an address of its own between them,
which no guest ever sees. Pure functions.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from insula.domain.network import Space
from insula.node.network.doors import doors_of
from insula.node.network.layout import Layout, Link, Uplink
from insula.node.network.rules.table import Chain, Group, Table

DEVICES = "isv"  # how the host's ends of the pairs begin
MOST_SPACES = 60_000
_HOST4, _HOST6 = "100.126.0.1", "fe80::1"
_TRANSIT4, _TRANSIT6 = "100.126.0.0/16", "fd69:6e73:756c::/64"
_INSIDE = f'"{DEVICES}*"'
_MTU = 1500
_DEVICE_MAC = "06:69:6e:73:75:6d"


@dataclass(frozen=True)
class Transit:
    """A space's place among those that the host connects. `number` is unique on this host, from 2 on."""

    space_id: str
    number: int
    space: Space = field(default_factory=lambda: Space("none"))

    @property
    def device(self) -> str:
        return f"{DEVICES}{hashlib.blake2b(self.space_id.encode(), digest_size=5).hexdigest()}"

    @property
    def ipv4(self) -> str:
        return f"100.126.{self.number >> 8}.{self.number & 255}"

    @property
    def ipv6(self) -> str:
        return f"fd69:6e73:756c::{self.number:x}"

    @property
    def public(self) -> tuple[str, ...]:
        """The addresses of the outside that lead into it."""
        return tuple(item.address for item in self.space.addresses)

    @property
    def uplink(self) -> Uplink:
        """The inner end."""
        return Uplink("up1", _MTU, (f"{self.ipv4}/32", f"{self.ipv6}/128"), (_HOST4, _HOST6))


_TO_DOORS = (
    "dnat ip to ip daddr . meta l4proto . th dport map @doors_at",
    "fib daddr type local dnat ip to meta l4proto . th dport map @doors_any",
)
_SKELETON: Mapping[str, Chain] = {
    "arriving": Chain(_TO_DOORS, "type nat hook prerouting priority dstnat ; policy accept ;"),
    "own": Chain(_TO_DOORS, "type nat hook output priority -100 ; policy accept ;"),
    "leaving": Chain(
        (
            f"oifname {_INSIDE} ip saddr 127.0.0.0/8 masquerade",
            f"ip saddr {_TRANSIT4} oifname != {_INSIDE} masquerade",
            f"ip6 saddr {_TRANSIT6} oifname != {_INSIDE} masquerade",
        ),
        "type nat hook postrouting priority srcnat ; policy accept ;",
    ),
    # Spaces come with their own addresses only, and reach neither the host nor each other but by public addresses.
    "forward": Chain(
        (
            f"iifname {_INSIDE} meta nfproto ipv4 iifname . ip saddr != @spaces4 drop",
            f"iifname {_INSIDE} meta nfproto ipv6 iifname . ip6 saddr != @spaces6 drop",
            "ct state { established, related } accept",
            f"oifname {_INSIDE} ct status dnat accept",
            "oifname . ip daddr @public4 accept",
            "oifname . ip6 daddr @public6 accept",
            f"oifname {_INSIDE} drop",
        ),
        "type filter hook forward priority -5 ; policy accept ;",
    ),
    "input": Chain(
        (
            f"iifname != {_INSIDE} accept",
            "ct state { established, related } accept",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            "drop",
        ),
        "type filter hook input priority -5 ; policy accept ;",
    ),
}


def host_table(transits: Iterable[Transit]) -> Table:
    """The host's table for these spaces."""
    at: dict[str, str] = {}
    anywhere: dict[str, str] = {}
    spaces: dict[int, dict[str, str]] = {4: {}, 6: {}}
    public: dict[int, dict[str, str]] = {4: {}, 6: {}}
    for transit in transits:
        for own in (transit.ipv4, transit.ipv6, *transit.public):
            key = f'"{transit.device}" . {own}'
            version = 6 if ":" in own else 4
            spaces[version][key] = key
            if own in transit.public:
                public[version][key] = key
        for (protocol, door), item in doors_of(transit.space).items():
            gate = f"{protocol} . {item.forward.host_port}"
            if item.forward.host_address == "0.0.0.0":  # noqa: S104 - compared, not bound
                anywhere[gate] = f"{gate} : {transit.ipv4} . {door}"
            else:
                key = f"{item.forward.host_address} . {gate}"
                at[key] = f"{key} : {transit.ipv4} . {door}"
    to = "ipv4_addr . inet_service"
    groups = {
        "doors_at": Group("map", f"ipv4_addr . inet_proto . inet_service : {to}", at, opens=True),
        "doors_any": Group("map", f"inet_proto . inet_service : {to}", anywhere, opens=True),
    }
    for version in (4, 6):
        kind = f"ifname . ipv{version}_addr"
        groups[f"spaces{version}"] = Group("set", kind, spaces[version])
        groups[f"public{version}"] = Group("set", kind, public[version], opens=True)
    return Table(_SKELETON, {}, groups)


def host_layout(transits: Iterable[Transit], segments: Iterable[tuple[str, str]] = ()) -> Layout:
    """The host's ends of the pairs, which have to be there.

    `segments` are the host's devices and their addresses with lengths: who asks there for a public address that belongs
    to the segment is told that it is here. Others have to be routed here.
    """
    links: dict[str, Link] = {}
    addresses: set[tuple[str, str]] = set()
    routes: set[tuple[str, str, str, str]] = set()
    proxies: set[tuple[str, str]] = set()
    near = [(device, ipaddress.ip_interface(text).network) for device, text in segments if _is_segment(device, text)]
    for transit in transits:
        links[transit.device] = Link("given", _DEVICE_MAC, _MTU)
        addresses |= {(transit.device, f"{_HOST4}/32"), (transit.device, f"{_HOST6}/64")}
        routes |= {(f"{transit.ipv4}/32", transit.device, "", ""), (f"{transit.ipv6}/128", transit.device, "", "")}
        for address in transit.public:
            is_6 = ":" in address
            routes.add((f"{address}/{128 if is_6 else 32}", transit.device, transit.ipv6 if is_6 else transit.ipv4, ""))
            proxies |= {(device, address) for device, network in near if ipaddress.ip_address(address) in network}
    return Layout(links, frozenset(addresses), frozenset(routes), proxies=frozenset(proxies))


def _is_segment(device: str, address: str) -> bool:
    return device != "lo" and not device.startswith(DEVICES) and not address.startswith("fe80:")

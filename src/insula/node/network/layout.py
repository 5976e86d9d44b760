"""The devices, addresses, routes and neighbours of a space as a value, and what leads from one to another.

Every network card of an instance is plugged into a tap device of its own, and the space routes between these. There is
no bridge: nobody hears what is not sent to him, and all traffic passes the packet filter that knows connections. The
router's addresses of a network stand on a device that nothing is plugged into.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from insula.domain.network import Space, parse_prefix
from insula.domain.port import Port
from insula.node.network.rules.compile import device_of, network_device
from insula.node.network.rules.skeleton import METADATA_ADDRESS

ROUTER_MAC = "06:69:6e:73:75:6c"
ROUTER_LINK_LOCAL = "fe80::1"
_OURS = ("p", "n", "i")  # in a space
_LOOPBACK_MTU = 65536

Change = tuple[Any, ...]


@dataclass(frozen=True)
class Link:
    """`kind` is `tap`, `bridge`, `ifb`, or `given` for one that is there without us; its MAC address is empty then."""

    kind: str
    mac: str
    mtu: int


@dataclass(frozen=True)
class Layout:
    """Addresses are (device, address with length), routes (prefix, device, gateway, source), neighbours (device,
    address, MAC address). Limits are megabits a second by device, of what leaves there. What comes in at the first
    device of a redirect passes through the second one before. Proxies are (device, address): who asks there is told
    that the address is here."""

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: frozenset[tuple[str, str]] = frozenset()
    routes: frozenset[tuple[str, str, str, str]] = frozenset()
    neighbours: frozenset[tuple[str, str, str]] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    redirects: frozenset[tuple[str, str]] = frozenset()
    proxies: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Uplink:
    """The way out as the space sees it: its device, its addresses with lengths, and the gateways."""

    device: str
    mtu: int = 1500
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


def layout_of(space: Space, uplink: Uplink | None = None) -> Layout:
    """What a space that has passed :func:`insula.domain.network.check` is made of."""
    networks = {network.id: network for network in space.networks}
    links = {"lo": Link("given", "", _LOOPBACK_MTU)}
    addresses = {("lo", f"{METADATA_ADDRESS}/32"), ("lo", "127.0.0.1/8"), ("lo", "::1/128")}
    routes: set[tuple[str, str, str, str]] = set()
    neighbours: set[tuple[str, str, str]] = set()
    for network in space.networks:
        device = network_device(network)
        links[device] = Link("bridge", ROUTER_MAC, network.mtu)
        addresses.add((device, f"{ROUTER_LINK_LOCAL}/64"))  # without it dnsmasq announces no router
        for prefix, router in ((network.ipv4, network.router4), (network.ipv6, network.router6)):
            if prefix:
                addresses.add((device, f"{router}/{prefix.partition('/')[2]}"))
                routes.add((prefix, "", "", ""))
    for port in space.ports:
        network = networks[port.network_id]
        device = device_of(port, network)
        links[device] = Link("tap", ROUTER_MAC, network.mtu)
        addresses.add((device, f"{ROUTER_LINK_LOCAL}/64"))
        for address, router in ((port.ipv4, network.router4), (port.ipv6, network.router6)):
            if address:
                routes.add((_whole(address), device, "", router))
                neighbours.add((device, address, port.mac))
        routes |= set(_beyond(port, device))
    if uplink is not None:
        links[uplink.device] = Link("given", "", uplink.mtu)
        addresses |= {(uplink.device, address) for address in uplink.addresses}
        ways = ((("::/0" if ":" in gateway else "0.0.0.0/0"), gateway) for gateway in uplink.gateways)
        routes |= {(prefix, uplink.device, gateway, "") for prefix, gateway in ways}
    limits: dict[str, int] = {}
    redirects: set[tuple[str, str]] = set()
    for port in space.ports:
        if port.megabits_per_second:
            device = device_of(port, networks[port.network_id])
            # A device can only hold back what leaves it, so what comes from the guest leaves another one on its way.
            waiting = f"i{device[1:]}"
            links[waiting] = Link("ifb", "", networks[port.network_id].mtu)
            redirects.add((device, waiting))
            limits |= {device: port.megabits_per_second, waiting: port.megabits_per_second}
    return Layout(links, frozenset(addresses), frozenset(routes), frozenset(neighbours), limits, frozenset(redirects))


def _whole(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _beyond(port: Port, device: str) -> Iterator[tuple[str, str, str, str]]:
    for text in port.also:
        prefix = parse_prefix(text)
        own = port.ipv6 if prefix is not None and prefix.version == 6 else port.ipv4
        if prefix is not None and own:
            yield (str(prefix), device, own, "")


def changes(old: Layout, new: Layout) -> list[Change]:
    """What to do, in order, in the words that the steward knows. What goes with a device is not named again."""
    gone = {name for name in old.links if name not in new.links or old.links[name].kind != new.links[name].kind}
    fresh = {name for name in new.links if name not in old.links or name in gone}
    orders: list[Change] = []
    kept = {prefix for prefix, _, _, _ in new.routes}  # these are replaced in one go
    for route in sorted(old.routes - new.routes):
        if route[1] not in gone and route[0] not in kept:
            orders.append(("route-away", *route))
    for device, address, mac in sorted(old.neighbours - new.neighbours):
        if device not in gone:
            orders.append(("neighbour-away", device, address, mac))
    orders += [
        ("address-away", device, address)
        for device, address in sorted(old.addresses - new.addresses)
        if device not in gone
    ]
    orders += [("proxy-away", *item) for item in sorted(old.proxies - new.proxies) if item[0] not in gone]
    orders += [("redirect-away", *item) for item in sorted(old.redirects - new.redirects) if item[0] not in gone]
    orders += [("link-away", name) for name in sorted(gone)]
    for name, link in new.links.items():
        if name in fresh and link.kind != "given":
            orders.append((link.kind, name))
        if name in fresh or old.links[name] != link:
            orders.append(("link", name, link.mac, link.mtu))
    orders += [("address", *item) for item in sorted(new.addresses) if item not in old.addresses or item[0] in fresh]
    orders += [
        ("neighbour", *item) for item in sorted(new.neighbours) if item not in old.neighbours or item[0] in fresh
    ]
    # A gateway has to be reachable before it is named.
    ordered = sorted(new.routes, key=lambda item: (bool(item[2]), item))
    orders += [("route", *item) for item in ordered if item not in old.routes or item[1] in fresh]
    for name in {**old.limits, **new.limits}:
        before = 0 if name in fresh else old.limits.get(name, 0)
        if name in new.links and before != new.limits.get(name, 0):
            orders.append(("limit", name, new.limits.get(name, 0)))
    orders += [("proxy", *item) for item in sorted(new.proxies - old.proxies)]
    orders += [("redirect", *item) for item in sorted(new.redirects) if item not in old.redirects or fresh & set(item)]
    return orders


def observed(found: Mapping[str, Any], wanted: Layout, ours: tuple[str, ...] = _OURS) -> Layout:
    """What the steward found, as far as it is ours: foreign devices and what belongs to them are left alone.

    `ours` is how the names of our devices begin.
    """
    links = {
        name: _seen_link(wanted.links.get(name), mac, mtu, up)
        for name, (mac, mtu, up) in found["links"].items()
        if name in wanted.links or name.startswith(ours)
    }
    made = {name for name in links if name.startswith(ours)}
    return Layout(
        links,
        frozenset(item for item in _seen(found["addresses"]) if item[0] in made or item in wanted.addresses),
        frozenset(item for item in map(tuple, found["routes"]) if item[1] in made or item in wanted.routes),
        frozenset(item for item in map(tuple, found["neighbours"]) if item[0] in made),
        proxies=frozenset(map(tuple, found["proxies"])),
    )


def _seen_link(wanted: Link | None, mac: str, mtu: int, is_up: bool) -> Link:
    if wanted is None:
        return Link("tap", mac, mtu)
    # One that is down is not what is wanted, whatever its address.
    return Link(wanted.kind, (mac if wanted.mac else "") if is_up else "down", mtu)


def _seen(addresses: list[list[str]]) -> Iterator[tuple[str, str]]:
    yield from ((device, str(ipaddress.ip_interface(address))) for device, address in addresses)

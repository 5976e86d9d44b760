"""Addresses and names for the guests of a space: one dnsmasq that only knows what it is told.

It sees requests at the ports' devices and answers them as if they had come to their network's own device. A guest gets
its address by the hardware address of its card, whatever identifier its system makes up. Source: dnsmasq(8) 2.90.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from insula.domain.network import Network, Space
from insula.node.network.rules.compile import network_device
from insula.node.network.rules.skeleton import METADATA_ADDRESS

DOMAIN = "internal"
CONFIGURATION, RESERVATIONS, HOSTS = "dnsmasq.conf", "reservations", "hosts"
PID, LOG = "dnsmasq.pid", "dnsmasq.log"
_LEASE = "12h"
_FURTHER = "further"  # what cards are tagged with that are not their instance's first

_GENERAL = (
    "no-resolv",
    "no-hosts",
    "localise-queries",  # who asks in one network gets the address there, if the name has several
    "bind-dynamic",
    "interface=p*",  # also keeps it from listening to a single device only
    "except-interface=lo",
    f"domain={DOMAIN}",
    f"local=/{DOMAIN}/",
    "domain-needed",
    "bogus-priv",
    "cache-size=1000",
    "leasefile-ro",
    "dhcp-authoritative",
    "no-ping",
    "quiet-dhcp",
    "quiet-dhcp6",
    "quiet-ra",
    "enable-ra",
)


@dataclass(frozen=True)
class Files:
    """What dnsmasq reads. It must be started again when `configuration` changes, or when a reservation goes."""

    configuration: str
    reservations: str
    hosts: str


def files_for(space: Space, folder: str, name_servers: tuple[str, ...] = ()) -> Files:
    """`name_servers` are asked for everything that is not in the space."""
    lines = [
        *_GENERAL,
        f"log-facility={folder}/{LOG}",
        f"pid-file={folder}/{PID}",
        f"dhcp-hostsfile={folder}/{RESERVATIONS}",
    ]
    lines += [f"addn-hosts={folder}/{HOSTS}", *(f"server={server}" for server in name_servers)]
    for network in space.networks:
        lines += _network(network)
    return Files(_text(lines), _text(_reservations(space)), _text(_hosts(space)))


def needs_restart(old: Files, new: Files) -> bool:
    """Whether it is not enough to let it read again: it remembers whom it gave an address."""
    gone = set(old.reservations.splitlines()) - set(new.reservations.splitlines())
    return old.configuration != new.configuration or bool(gone)


def _text(lines: Iterator[str] | list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _network(network: Network) -> Iterator[str]:
    device, tag = network_device(network), f"net{network.number}"
    yield f"interface={device}"
    yield f"bridge-interface={device},p{network.number}-*"
    if network.ipv4:
        yield f"dhcp-range=set:{tag},{network.ipv4.partition('/')[0]},static,{_mask(network.ipv4)},{_LEASE}"
        yield f"dhcp-option=tag:{tag},option:dns-server,{network.router4}"
        yield f"dhcp-option=tag:{tag},option:mtu,{network.mtu}"
        yield f"dhcp-option=tag:{tag},option:domain-search,{DOMAIN}"
        if network.gateway:
            # Only an instance's first card leads outside: a guest knows one way there.
            yield f"dhcp-option=tag:{tag},tag:!{_FURTHER},option:router,{network.router4}"
            yield f"dhcp-option=tag:{tag},tag:{_FURTHER},option:router"
        else:
            yield f"dhcp-option=tag:{tag},option:router"
            yield f"dhcp-option=tag:{tag},option:classless-static-route,{METADATA_ADDRESS}/32,{network.router4}"
    if network.ipv6:
        # Nobody is on a guest's own segment but the router, so the prefix is announced as being behind it.
        start, _, length = network.ipv6.partition("/")
        yield f"dhcp-range=set:{tag},{start},static,off-link,{length},{_LEASE}"
        yield f"dhcp-option=tag:{tag},option6:dns-server,[{network.router6}]"
        yield f"dhcp-option=tag:{tag},option6:domain-search,{DOMAIN}"
        yield f"ra-param={device},mtu:{network.mtu},60,{1800 if network.gateway else 0}"


def _mask(prefix: str) -> str:
    bits = 0xFFFFFFFF << (32 - int(prefix.partition("/")[2])) & 0xFFFFFFFF
    return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))


def _reservations(space: Space) -> Iterator[str]:
    names = _names(space)
    seen: set[str] = set()
    for port in space.ports:
        tags = [f"set:{_FURTHER}"] if port.instance_id in seen else []
        seen.add(port.instance_id)
        addresses = [port.ipv4] if port.ipv4 else []
        addresses += [f"[{port.ipv6}]"] if port.ipv6 else []
        if addresses:
            yield ",".join((port.mac, "id:*", *tags, *addresses, names[port.instance_id], _LEASE))


def _hosts(space: Space) -> Iterator[str]:
    names = _names(space)
    for port in space.ports:
        name = names[port.instance_id]
        yield from (f"{address} {name}.{DOMAIN} {name}" for address in (port.ipv4, port.ipv6) if address)


def _names(space: Space) -> dict[str, str]:
    return {member.instance_id: member.hostname for member in space.members}

"""Networks of a project as control records them, and how ports in them get their numbers and addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from insula.base.errors import CapacityExceeded
from insula.domain.ids import Kind, new_id
from insula.domain.network import Network
from insula.domain.port import FIRST_SPARE_NUMBER, Port

DEFAULT_NETWORK = "default"
MAX_NETWORKS = 50
_DEFAULT_IPV4 = "10.42.0.0/16"
_FIRST_HOST = 16  # those before are for what a project puts there by hand one day: gateways, virtual addresses


@dataclass(frozen=True)
class ProjectNetwork:
    """A network of a project, by name. `number` is unique in the project."""

    id: str
    project: str
    name: str
    number: int
    ipv4: str
    ipv6: str
    gateway: bool
    created_at: datetime

    @property
    def network(self) -> Network:
        """As nodes know it."""
        return Network(self.id, self.number, self.ipv4, self.ipv6, self.gateway)


def space_id_of(project: str) -> str:
    """The id of the space that holds all networks of a project. Names of projects may be longer than ids are."""
    return f"spc_{hashlib.sha256(project.encode()).hexdigest()[:26]}"


def default_network(project: str, now: datetime) -> ProjectNetwork:
    """The network of a project that has none: its IPv6 prefix is nobody else's (RFC 4193)."""
    prefix = ipaddress.IPv6Address(0xFD << 120 | secrets.randbits(40) << 80)
    return ProjectNetwork(new_id(Kind.NETWORK), project, DEFAULT_NETWORK, 1, _DEFAULT_IPV4, f"{prefix}/64", True, now)


def further_network(project: str, name: str, others: Iterable[ProjectNetwork], now: datetime) -> ProjectNetwork:
    """One more, with the next number and the next range of its kind that no other one has.

    Raises CapacityExceeded.
    """
    held = list(others)
    taken = [ipaddress.ip_network(one.ipv4) for one in held if one.ipv4]
    ranges = (ipaddress.ip_network(f"10.{second}.0.0/16") for second in range(42, 255))
    free = next((one for one in ranges if not any(one.overlaps(other) for other in taken)), None)
    if free is None or len(held) >= MAX_NETWORKS:
        raise CapacityExceeded(
            f"Project {project} cannot have a further network",
            why=f"It has {len(held)} of {MAX_NETWORKS}, or no range is left",
            todo="Delete one that nobody is in",
            code="too-many-networks",
        )
    number = max((one.number for one in held), default=0) + 1
    return replace(default_network(project, now), name=name, number=number, ipv4=str(free))


def port_wish(instance_id: str, mac: str, network_id: str = "") -> Port:
    """The wish for a port in a network of the project, by default in its first one."""
    return Port(new_id(Kind.PORT), 0, instance_id, network_id, mac)


def place(wish: Port, network: Network, taken: Iterable[Port]) -> Port:
    """The port with everything that the wish left open, or whose place is taken; `taken` are all of the space's.

    Raises CapacityExceeded when the network has no address left.
    """
    held = list(taken)
    numbers = {port.number for port in held}
    addresses = {address for port in held for address in (port.ipv4, port.ipv6) if address}
    is_free = wish.number not in numbers and not addresses & {wish.ipv4, wish.ipv6} - {""}
    if wish.number and wish.network_id == network.id and is_free:
        return wish
    number = max((one for one in numbers if one < FIRST_SPARE_NUMBER), default=0) + 1
    chosen = replace(wish, number=number, network_id=network.id, ipv4="", ipv6="")
    ipv4, ipv6 = free_addresses(network, addresses.__contains__)
    return replace(chosen, ipv4=ipv4, ipv6=ipv6)


def free_addresses(network: Network, is_taken: Callable[[str], bool], *, last: bool = False) -> tuple[str, str]:
    """The first addresses of a network that are not taken, or its last ones: IPv4 and IPv6, empty for none.

    Raises CapacityExceeded.
    """
    return (
        _free(network.ipv4, is_taken, last) if network.ipv4 else "",
        _free(network.ipv6, is_taken, last) if network.ipv6 else "",
    )


def _free(prefix: str, is_taken: Callable[[str], bool], last: bool) -> str:
    for offset in _offsets(ipaddress.ip_network(prefix), last):
        address = str(ipaddress.ip_network(prefix).network_address + offset)
        if not is_taken(address):
            return address
    raise CapacityExceeded(
        f"No address is left in {prefix}",
        why="Each instance has one of its own",
        todo="Delete instances that are no longer needed",
        code="no-address-left",
    )


def _offsets(network: ipaddress.IPv4Network | ipaddress.IPv6Network, last: bool) -> Iterator[int]:
    """Within the first 2^16, where the same instance has the same number in IPv4 and IPv6."""
    end = min(network.num_addresses, 1 << 16) - 1
    begin = _FIRST_HOST if end > 2 * _FIRST_HOST else 2
    yield from range(end - 1, begin - 1, -1) if last else range(begin, end)

"""Reserved addresses: addresses of the outside that a project keeps, whichever instance they lead to."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from insula.base.errors import InvalidInput

MAX_ADDRESSES = 100  # of a project
_MOST_TRIED = 1 << 16
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class AddressPool:
    """Addresses from `first` to `last` that lead to a node's host, and that projects may reserve."""

    id: str
    name: str
    node: str
    first: str
    last: str
    created_at: datetime

    @property
    def version(self) -> int:
        return 6 if ":" in self.first else 4

    def holds(self, address: str) -> bool:
        """Whether it is one of these."""
        found = parse_address(address)
        first, last = ipaddress.ip_address(self.first), ipaddress.ip_address(self.last)
        return found is not None and found.version == first.version and int(first) <= int(found) <= int(last)

    def overlaps(self, other: AddressPool) -> bool:
        return self.holds(other.first) or other.holds(self.first)

    def free(self, is_taken: Callable[[str], bool]) -> str | None:
        """The first one that is not taken, None when there is none (of the first 65,536)."""
        return next((text for text in self._addresses() if not is_taken(text)), None)

    def _addresses(self) -> Iterator[str]:
        first, last = ipaddress.ip_address(self.first), ipaddress.ip_address(self.last)
        for offset in range(min(int(last) - int(first) + 1, _MOST_TRIED)):
            yield str(first + offset)


@dataclass(frozen=True)
class ReservedAddress:
    """An address that a project keeps. `instance_id` is None while it leads nowhere."""

    id: str
    project: str
    address: str
    pool_id: str
    instance_id: str | None
    created_at: datetime


@dataclass(frozen=True)
class Assignment:
    """For how long an address led to an instance, which may be gone. `ended_at` is None while it does."""

    address: str
    instance_id: str
    instance_name: str
    began_at: datetime
    ended_at: datetime | None


def parse_address(text: str) -> IpAddress | None:
    """None for what is no address."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def read_range(text: str) -> tuple[str, str]:
    """First and last of `203.0.113.0/28`, `192.0.2.64-192.0.2.80` or a single address.

    A prefix of IPv4 is without its first and last address, which are no hosts' where it is a segment; one of IPv6
    without its first, which is the routers'. Raises InvalidInput.
    """
    begin, dash, end = (part.strip() for part in text.partition("-"))
    if dash:
        first, last = parse_address(begin), parse_address(end)
        if first is None or last is None or first.version != last.version or int(first) > int(last):
            raise _no_range(text, "A range is two addresses of one kind, the lesser first")
        return str(first), str(last)
    try:
        prefix = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise _no_range(text, str(error)) from error
    if prefix.num_addresses <= 2:
        return str(prefix[0]), str(prefix[-1])
    return str(prefix[1]), str(prefix[-2] if prefix.version == 4 else prefix[-1])


def _no_range(text: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:90]!r} names no addresses",
        why=why,
        todo="Name them like 203.0.113.0/28, 2001:db8:5::/64 or 192.0.2.64-192.0.2.80",
        code="invalid-addresses",
        fields={"addresses": why},
    )

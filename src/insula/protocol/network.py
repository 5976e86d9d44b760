"""What control tells a node of networks, and what the node reports: whole wanted states, never steps.

A node is told a space as it shall be and makes it so; telling it again changes nothing. Spaces outlive the service, and
a node keeps its own copy of what it was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from insula.domain.network import Space

# Where the way out of a space is without rights, and whom guests see who comes in there: IPv4, IPv6.
USER_GATEWAYS = ("100.126.0.2", "fd00::2")


class Way(StrEnum):
    """How a space reaches the outside."""

    USER = "user"  # slirp4netns: needs no rights
    ROUTED = "routed"  # a pair of devices and the host's own packet filter: needs root
    NONE = "none"  # nowhere
    ANY = "any"  # as well as the node can


@dataclass(frozen=True)
class SpaceOrder:
    """A space as it shall be. `revision` grows with every change; an older order than the last is refused."""

    space: Space
    revision: int
    way: Way = Way.ANY


@dataclass(frozen=True)
class Traffic:
    """What went through a counter since it was made."""

    packets: int = 0
    byte_count: int = 0


@dataclass(frozen=True)
class PortTraffic:
    """As the instance sees it."""

    sent: Traffic = Traffic()
    received: Traffic = Traffic()


@dataclass(frozen=True)
class SpaceReport:
    """What is there. `revision` is that of the order that stands; `mended` what had to be brought back since then."""

    id: str
    revision: int
    way: Way
    problem: str = ""
    mended: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpaceTraffic:
    """Counts by port id, by firewall rule id, and of what instances' firewalls dropped by default, by instance id.

    `epoch` is another one when all of them have begun anew, as after a start of the host.
    """

    ports: Mapping[str, PortTraffic] = field(default_factory=dict)
    rules: Mapping[str, Traffic] = field(default_factory=dict)
    dropped: Mapping[str, Traffic] = field(default_factory=dict)
    forged: Traffic = Traffic()
    epoch: str = ""


class NetworkNode(Protocol):
    """The networks of one node. Every method may be repeated."""

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        """Make the space what it shall be; what has not changed goes on undisturbed.

        Raises InvalidInput for a space that contradicts itself, Conflict (`old-revision`, `port-in-use`), HostFailure.
        """
        ...

    async def remove_space(self, space_id: str) -> None:
        """Take away every device, rule and process of it. Succeeds when there is none."""
        ...

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        """Every space that is there."""
        ...

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        """Counts since the space was made. Raises NotFound."""
        ...

"""Firewalls: ordered rules for new connections of the instances that they apply to. Answers to these always pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """As the instance sees it."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Action(StrEnum):
    ACCEPT = "accept"
    DROP = "drop"


class Traffic(StrEnum):
    """What a rule is about; ICMP is that of IPv4 and that of IPv6."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


HAS_PORTS = frozenset({Traffic.TCP, Traffic.UDP})


class PeerKind(StrEnum):
    """What the other side of a connection is known by."""

    PREFIX = "prefix"  # an address, or many: 192.0.2.7, 2001:db8::/32
    TAG = "tag"  # the project's instances that carry it
    NETWORK = "network"  # everybody in that network, by its id
    FIREWALL = "firewall"  # the instances that this firewall applies to, by its id


@dataclass(frozen=True)
class Peer:
    kind: PeerKind
    value: str


@dataclass(frozen=True)
class PortRange:
    """Ports from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class Rule:
    """Decides what its direction, traffic, ports and peers all match; no ports mean any, no peers mean anybody.

    Ports are those that a connection goes to. `log` tells of each match, as often as the rate limit of logs allows.
    """

    id: str
    direction: Direction
    action: Action = Action.ACCEPT
    traffic: Traffic = Traffic.ANY
    ports: tuple[PortRange, ...] = ()
    peers: tuple[Peer, ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Firewall:
    """Applies to the instances named and to those that carry one of the tags.

    The first rule that matches decides. Where several firewalls apply to an instance they are asked in the project's
    order, and when no rule of any decides, one of them that drops by default is enough to drop.
    """

    id: str
    rules: tuple[Rule, ...] = ()
    instances: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    inbound_default: Action = Action.DROP
    outbound_default: Action = Action.ACCEPT

    def default_of(self, direction: Direction) -> Action:
        return self.inbound_default if direction is Direction.INBOUND else self.outbound_default

"""The shapes of `/v1/firewalls`; see :mod:`schemas`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from insula.control.actions.firewalls import FirewallChange, FirewallWish, Question
from insula.domain.firewall import HAS_PORTS, Action, Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.project_firewall import MAX_PEERS, MAX_PORTS, MAX_RULES
from insula.frontends.api.schemas import Name, Tag, Wish
from insula.frontends.api.volume_schemas import InstanceName
from insula.protocol.network import Traffic as Count

PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Instances = Annotated[list[InstanceName], Meta(max_length=1000)]
Tags = Annotated[list[Tag], Meta(max_length=50)]


class NewPorts(Wish, frozen=True):
    """Ports from `first` to `last`, both included."""

    first: PortNumber
    last: PortNumber


class NewPeer(Wish, frozen=True):
    """An address or prefix, a tag, or the name or id of a network or firewall."""

    kind: PeerKind
    value: Annotated[str, Meta(min_length=1, max_length=255)]


class NewRule(Wish, frozen=True):
    """A rule; without ports it is about any, without peers about anybody. Ids of new rules are left out."""

    direction: Direction
    action: Action = Action.ACCEPT
    traffic: Traffic = Traffic.ANY
    ports: Annotated[list[NewPorts], Meta(max_length=MAX_PORTS)] = field(default_factory=list)
    peers: Annotated[list[NewPeer], Meta(max_length=MAX_PEERS)] = field(default_factory=list)
    log: bool = False
    id: Annotated[str, Meta(pattern="^(rul_[0-9a-z]{26})?$", description="the id of a rule that is there")] = ""

    def to_domain(self) -> Rule:
        return Rule(
            self.id,
            self.direction,
            self.action,
            self.traffic,
            tuple(PortRange(ports.first, ports.last) for ports in self.ports),
            tuple(Peer(peer.kind, peer.value) for peer in self.peers),
            self.log,
        )


Rules = Annotated[list[NewRule], Meta(max_length=MAX_RULES)]


class CreateFirewall(Wish, frozen=True):
    """A new firewall for the instances named and those that carry one of the tags."""

    name: Name
    rules: Rules = field(default_factory=list)
    instances: Instances = field(default_factory=list)
    tags: Tags = field(default_factory=list)
    inbound_default: Action = Action.DROP
    outbound_default: Action = Action.ACCEPT

    def to_wish(self) -> FirewallWish:
        return FirewallWish(
            self.name,
            tuple(rule.to_domain() for rule in self.rules),
            tuple(self.instances),
            tuple(self.tags),
            self.inbound_default,
            self.outbound_default,
        )


class ChangeFirewall(Wish, frozen=True):
    """Fields left out stay; `rules` take the place of all that there are."""

    name: Name | None = None
    rules: Rules | None = None
    inbound_default: Action | None = None
    outbound_default: Action | None = None

    def to_change(self) -> FirewallChange:
        rules = None if self.rules is None else tuple(rule.to_domain() for rule in self.rules)
        return FirewallChange(self.name, rules, self.inbound_default, self.outbound_default)


class AddRule(Wish, frozen=True):
    """A rule, before the one at `position` (from 1); by default it is asked last."""

    rule: NewRule
    position: Annotated[int, Meta(ge=1, le=MAX_RULES)] | None = None


class Applies(Wish, frozen=True):
    """Instances, by name or id, and tags."""

    instances: Instances = field(default_factory=list)
    tags: Tags = field(default_factory=list)


class TestFirewalls(Wish, frozen=True):
    """Whether `peer`, an address or an instance, reaches the instance, or with `outbound` is reached by it."""

    instance: InstanceName
    peer: Annotated[str, Meta(min_length=1, max_length=63, description="An address, or an instance's name or id")]
    direction: Direction = Direction.INBOUND
    traffic: Traffic = Traffic.TCP
    port: Annotated[int, Meta(ge=1, le=65535, description="Where TCP and UDP go to")] = 22

    def to_question(self) -> Question:
        port = self.port if self.traffic in HAS_PORTS else 0
        return Question(self.instance, self.peer, self.direction, self.traffic, port)


class FirewallTraffic(Struct, frozen=True):
    """What matched each rule, by its id, since its network stands."""

    rules: Mapping[str, Count]

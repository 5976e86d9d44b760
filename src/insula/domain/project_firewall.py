"""Firewalls of a project as control records them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from datetime import datetime

from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.domain.firewall import HAS_PORTS, Action, Firewall, Peer, PeerKind, PortRange, Rule
from insula.domain.names import check_tags

MAX_FIREWALLS = 100
MAX_RULES = 200
MAX_PORTS = MAX_PEERS = 50


@dataclass(frozen=True)
class ProjectFirewall:
    """A firewall, by name. `instances` are ids; see :class:`insula.domain.firewall.Firewall` for what it does."""

    id: str
    project: str
    name: str
    rules: tuple[Rule, ...]
    instances: tuple[str, ...]
    tags: tuple[str, ...]
    inbound_default: Action
    outbound_default: Action
    created_at: datetime
    updated_at: datetime

    @property
    def firewall(self) -> Firewall:
        """As nodes know it."""
        return Firewall(self.id, self.rules, self.instances, self.tags, self.inbound_default, self.outbound_default)

    def with_rule(self, rule: Rule, position: int | None) -> ProjectFirewall:
        """With one more, before the one at `position` (from 1), by default the last. Raises Conflict, InvalidInput."""
        if len(self.rules) >= MAX_RULES:
            raise Conflict(
                f"Firewall {self.name} has {MAX_RULES} rules already",
                why="It cannot have more",
                todo="Remove some, or make a second firewall",
                code="too-many-rules",
            )
        place = len(self.rules) + 1 if position is None else position
        if not 1 <= place <= len(self.rules) + 1:
            raise InvalidInput(
                f"There is no position {place} in firewall {self.name}",
                why=f"It has {len(self.rules)} rules",
                todo=f"Name one from 1 to {len(self.rules) + 1}",
                code="invalid-rule",
                fields={"position": f"must be from 1 to {len(self.rules) + 1}"},
            )
        return replace(self, rules=(*self.rules[: place - 1], rule, *self.rules[place - 1 :]))

    def without_rule(self, id_or_position: str) -> ProjectFirewall:
        """Without the rule of this id or position (from 1). Raises NotFound."""
        for number, rule in enumerate(self.rules, 1):
            if id_or_position in {rule.id, str(number)}:
                return replace(self, rules=tuple(each for each in self.rules if each is not rule))
        raise NotFound(
            f"Firewall {self.name} has no rule {id_or_position[:80]}",
            why=f"It has {len(self.rules)} rules",
            todo=f"Look at `insula firewall show {self.name}`",
            code="unknown-rule",
        )


def rule_problem(rule: Rule) -> str:
    """Why it cannot be a rule, empty when it can. Peers are known by their names or ids, which are not looked up."""
    if rule.ports and rule.traffic not in HAS_PORTS:
        return f"has ports, but {rule.traffic} has none; say tcp or udp"
    if len(rule.ports) > MAX_PORTS or len(rule.peers) > MAX_PEERS:
        return f"has more than {MAX_PORTS} ports or {MAX_PEERS} peers"
    for ports in rule.ports:
        if not 1 <= ports.first <= ports.last <= 65535:
            return f"ports {ports.first}-{ports.last} are no range from 1 to 65535"
    return next(filter(None, map(_peer_problem, rule.peers)), "")


def _peer_problem(peer: Peer) -> str:
    if peer.kind is PeerKind.PREFIX:
        try:
            ipaddress.ip_network(peer.value)
        except ValueError as error:
            return f"{peer.value[:80]!r} is no address or prefix: {error}"
    if peer.kind is PeerKind.TAG:
        try:
            check_tags((peer.value,))
        except InvalidInput as error:
            return f"{peer.value[:80]!r} is no tag: {error.why}"
    return ""


def rule_text(rule: Rule) -> str:
    """In words: `accept tcp 80, 443 from 10.0.0.0/8`."""
    words = [rule.action.value, "" if rule.traffic == "any" else rule.traffic.value]
    words.append(", ".join(_range_text(ports) for ports in rule.ports))
    if rule.peers:
        side = "from" if rule.direction == "inbound" else "to"
        words.append(f"{side} {', '.join(_peer_text(peer) for peer in rule.peers)}")
    return " ".join(word for word in words if word)


def _range_text(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _peer_text(peer: Peer) -> str:
    return peer.value if peer.kind is PeerKind.PREFIX else f"{peer.kind}:{peer.value}"

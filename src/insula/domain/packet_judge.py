"""What becomes of a new connection, told from the records alone, with the rule that decides.

It must say what the packet filter does; a test asks both about the same random packets.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from insula.domain.firewall import Action, Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import Network, Space, firewalls_by_instance, parse_prefix
from insula.domain.port import Port


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection.

    `from_port` is the id of the port that sends it, None for one from outside; one from outside is looked at after the
    forward or public address that let it in, so `destination` is an instance's own address. `port` is where it goes to,
    for TCP and UDP.
    """

    source: str
    destination: str
    traffic: Traffic
    port: int = 0
    from_port: str | None = None


class Stage(StrEnum):
    """What had the last word."""

    GUARD = "guard"  # the sender may not use this source address
    REACH = "reach"  # networks that are apart, no way out, or nobody there
    OUTBOUND = "outbound"  # firewalls of the sender
    INBOUND = "inbound"  # firewalls of the receiver
    PASSED = "passed"


@dataclass(frozen=True)
class Decision:
    """`rule_id` is the rule that decided at `stage`; empty where a default did, or no firewall applies."""

    passes: bool
    stage: Stage
    firewall_id: str = ""
    rule_id: str = ""


class Judge:
    """Answers for one state of a space; good for many questions."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._networks = {network.id: network for network in space.networks}
        self._ports = {port.id: port for port in space.ports}
        self._by_address = {text: port for port in space.ports for text in (port.ipv4, port.ipv6) if text}
        self._firewalls = firewalls_by_instance(space)
        self._tags = {member.instance_id: frozenset(member.tags) for member in space.members}
        self._reach = {(network.id, network.id) for network in space.networks}
        self._reach |= {pair for one, other in space.joined for pair in ((one, other), (other, one))}

    def decide(self, packet: Packet) -> Decision:
        """What happens to it. Raises KeyError for an unknown `from_port`."""
        sender = self._ports[packet.from_port] if packet.from_port is not None else None
        receiver = self._receiver(packet.destination)
        if sender is not None and not self._may_send_from(sender, packet.source):
            return Decision(False, Stage.GUARD)
        if not self._reaches(sender, receiver, packet):
            return Decision(False, Stage.REACH)
        last = Decision(True, Stage.PASSED)
        for port, direction in ((sender, Direction.OUTBOUND), (receiver, Direction.INBOUND)):
            if port is not None:
                decision = self._ask_firewalls(port, direction, packet)
                if not decision.passes:
                    return decision
                last = decision if decision.rule_id else last
        return last

    def _receiver(self, destination: str) -> Port | None:
        """Whose address it is, or who has taken on the most specific prefix that it is in."""
        own = self._by_address.get(destination)
        if own is not None:
            return own
        found = [
            (prefix.prefixlen, port.id)
            for port in self._space.ports
            for prefix in map(parse_prefix, port.also)
            if prefix is not None and _is_in(destination, str(prefix))
        ]
        return self._ports[max(found)[1]] if found else None

    def _reaches(self, sender: Port | None, receiver: Port | None, packet: Packet) -> bool:
        if sender is None:
            return receiver is not None
        if receiver is None:
            inside = any(
                _is_in(packet.destination, prefix)
                for network in self._space.networks
                for prefix in (network.ipv4, network.ipv6)
                if prefix
            )
            return self._networks[sender.network_id].gateway and not inside
        home = self._by_address.get(packet.source, sender)
        return receiver is not sender and (home.network_id, receiver.network_id) in self._reach

    def _may_send_from(self, port: Port, source: str) -> bool:
        """Each card of an instance may send from any of its addresses."""
        home = self._by_address.get(source)
        if home is not None and home.instance_id == port.instance_id:
            return True
        return any(_is_in(source, prefix) for prefix in port.also)

    def _ask_firewalls(self, port: Port, direction: Direction, packet: Packet) -> Decision:
        stage = Stage.INBOUND if direction is Direction.INBOUND else Stage.OUTBOUND
        other = packet.source if direction is Direction.INBOUND else packet.destination
        applied = self._firewalls.get(port.instance_id, ())
        for firewall in applied:
            for rule in firewall.rules:
                if rule.direction is direction and self._matches(rule, other, packet):
                    return Decision(rule.action is Action.ACCEPT, stage, firewall.id, rule.id)
        for firewall in applied:
            if firewall.default_of(direction) is Action.DROP:
                return Decision(False, stage, firewall.id)
        return Decision(True, stage)

    def _matches(self, rule: Rule, other: str, packet: Packet) -> bool:
        if rule.traffic not in {Traffic.ANY, packet.traffic}:
            return False
        if rule.ports and not _is_among(packet.port, rule.ports):
            return False
        return not rule.peers or any(self._is_peer(peer, other) for peer in rule.peers)

    def _is_peer(self, peer: Peer, address: str) -> bool:
        if peer.kind is PeerKind.PREFIX:
            return _is_in(address, peer.value)
        if peer.kind is PeerKind.NETWORK:
            network: Network = self._networks[peer.value]
            return any(_is_in(address, prefix) for prefix in (network.ipv4, network.ipv6) if prefix)
        port = self._by_address.get(address)
        if port is None:
            return False
        if peer.kind is PeerKind.TAG:
            return peer.value in self._tags.get(port.instance_id, frozenset())
        applied: tuple[Firewall, ...] = self._firewalls.get(port.instance_id, ())
        return any(firewall.id == peer.value for firewall in applied)


def _is_in(address: str, prefix: str) -> bool:
    parsed = parse_prefix(prefix)
    return parsed is not None and ipaddress.ip_address(address) in parsed


def _is_among(number: int, ranges: tuple[PortRange, ...]) -> bool:
    return any(ports.first <= number <= ports.last for ports in ranges)

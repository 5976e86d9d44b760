"""Firewalls and their rules, translated in both directions.

Rules there name droplets; ours name the addresses that these have for life, and the droplets are kept as facts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput
from insula.domain.alias import Alias
from insula.domain.firewall import Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.project_firewall import ProjectFirewall
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.digitalocean.dialect import when
from insula.frontends.dialects.digitalocean.find import named_droplets
from insula.frontends.dialects.records import name_of, numbers, uuid_of

_ALL_PORTS = "0"


class Side(msgspec.Struct):
    """The other side of a rule."""

    addresses: list[str] | None = None
    droplet_ids: list[int] | None = None
    tags: list[str] | None = None
    load_balancer_uids: list[str] | None = None
    kubernetes_ids: list[str] | None = None


class TheirRule(msgspec.Struct):
    protocol: str
    ports: str | int | None = None
    sources: Side | None = None
    destinations: Side | None = None

    def side(self, direction: Direction) -> Side:
        return (self.sources if direction is Direction.INBOUND else self.destinations) or Side()


class Rules(msgspec.Struct):
    """Rules of both directions; None is left out."""

    inbound_rules: list[TheirRule] | None = None
    outbound_rules: list[TheirRule] | None = None


class Translated(msgspec.Struct, frozen=True):
    """Our rule, and what of theirs cannot be read from it again."""

    rule: Rule
    facts: dict[str, str]


async def translated(ask: Ask, rules: Rules) -> tuple[Translated, ...]:
    """Raises InvalidInput."""
    found = []
    for direction, given in ((Direction.INBOUND, rules.inbound_rules), (Direction.OUTBOUND, rules.outbound_rules)):
        for rule in given or ():
            found.append(await _translated(ask, rule, direction))
    return tuple(found)


async def _translated(ask: Ask, theirs: TheirRule, direction: Direction) -> Translated:
    if theirs.protocol not in {"tcp", "udp", "icmp"}:
        raise _wrong("protocol", "There are tcp, udp and icmp")
    side = theirs.side(direction)
    field = "sources" if direction is Direction.INBOUND else "destinations"
    if side.load_balancer_uids or side.kubernetes_ids:
        raise _wrong(field, "Load balancers and Kubernetes clusters are not available")
    addresses, tags, ids = side.addresses or [], side.tags or [], side.droplet_ids or []
    if not (addresses or tags or ids):
        raise _wrong(field, "Say who: addresses, tags or droplet_ids")
    peers = [Peer(PeerKind.PREFIX, _prefix(address)) for address in addresses]
    peers += [Peer(PeerKind.TAG, tag) for tag in tags]
    for instance in await named_droplets(ask, ids, field):
        own = [address for port in instance.ports for address in (port.ipv4, port.ipv6) if address]
        peers += [Peer(PeerKind.PREFIX, address) for address in own]
    ports = "" if theirs.ports is None else str(theirs.ports)
    facts = {"ports": ports, "addresses": ",".join(addresses), "droplet_ids": ",".join(map(str, ids))}
    unique = tuple(dict.fromkeys(peers))
    rule = Rule("", direction, traffic=Traffic(theirs.protocol), ports=_ports(theirs.protocol, ports), peers=unique)
    return Translated(rule, facts)


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise _wrong("addresses", str(error)) from error


def _ports(protocol: str, text: str) -> tuple[PortRange, ...]:
    if protocol == "icmp" or text in {"all", _ALL_PORTS}:
        return ()
    first, _, last = text.partition("-")
    if not all(end.isascii() and end.isdigit() and 1 <= int(end) <= 65535 for end in (first, last or first)):
        raise _wrong("ports", f"{text[:40]!r} is neither a port, a range like 8000-9000, nor all")
    return (PortRange(int(first), int(last or first)),)


def _wrong(field: str, why: str) -> InvalidInput:
    return InvalidInput("This firewall rule cannot be", why=why, todo=f"Correct its {field}", fields={field: why})


async def firewall_views(ask: Ask, found: Sequence[ProjectFirewall]) -> list[dict[str, Any]]:
    records = [one.id for one in found] + [rule.id for one in found for rule in one.rules]
    aliases = await ask.actions.aliases.of(records)
    droplets = await numbers(ask, [instance for one in found for instance in one.instances])
    return [_view(one, aliases, droplets) for one in found]


def _view(found: ProjectFirewall, aliases: Mapping[str, Alias], droplets: Mapping[str, int]) -> dict[str, Any]:
    shown: dict[Direction, list[dict[str, Any]]] = {Direction.INBOUND: [], Direction.OUTBOUND: []}
    for rule in found.rules:
        if rule.action == "accept":  # theirs have no others
            shown[rule.direction].append(_rule_view(rule, aliases[rule.id].facts))
    return {
        "id": uuid_of(found.id),
        "status": "succeeded",
        "created_at": when(found.created_at),
        "pending_changes": [],
        "name": name_of(aliases[found.id], found.name),
        "droplet_ids": [droplets[instance] for instance in found.instances],
        "tags": list(found.tags),
        "inbound_rules": shown[Direction.INBOUND],
        "outbound_rules": shown[Direction.OUTBOUND],
    }


def _rule_view(rule: Rule, facts: Mapping[str, str]) -> dict[str, Any]:
    prefixes = [peer.value for peer in rule.peers if peer.kind is PeerKind.PREFIX]
    known = {
        "addresses": [one for one in facts.get("addresses", "").split(",") if one],
        "droplet_ids": [int(number) for number in facts.get("droplet_ids", "").split(",") if number],
        "tags": [peer.value for peer in rule.peers if peer.kind is PeerKind.TAG],
    }
    if not (known["addresses"] or known["droplet_ids"]):  # it is not from here
        known["addresses"] = prefixes
    side = {field: value for field, value in known.items() if value}
    name = "sources" if rule.direction is Direction.INBOUND else "destinations"
    protocol = "tcp" if rule.traffic is Traffic.ANY else rule.traffic.value
    return {"protocol": protocol, "ports": facts.get("ports") or _ports_text(rule), name: side}


def _ports_text(rule: Rule) -> str:
    if not rule.ports:
        return _ALL_PORTS
    ports = rule.ports[0]
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"

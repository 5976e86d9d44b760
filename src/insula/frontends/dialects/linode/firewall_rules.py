"""Rules of firewalls, translated in both directions."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from insula.base.errors import InvalidInput
from insula.domain.alias import Alias
from insula.domain.firewall import Action, Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.project_firewall import ProjectFirewall

_PROTOCOLS = {"TCP": Traffic.TCP, "UDP": Traffic.UDP, "ICMP": Traffic.ICMP}
_ACTIONS = {"ACCEPT": Action.ACCEPT, "DROP": Action.DROP}
_EVERYBODY = {"0.0.0.0/0", "::/0"}


class Addresses(msgspec.Struct):
    ipv4: list[str] | None = None
    ipv6: list[str] | None = None


class TheirRule(msgspec.Struct):
    action: str
    protocol: str
    addresses: Addresses = msgspec.field(default_factory=Addresses)
    ports: str | None = None
    label: str | None = None
    description: str | None = None


class Rules(msgspec.Struct):
    inbound: list[TheirRule] = []
    outbound: list[TheirRule] = []
    inbound_policy: str | None = None
    outbound_policy: str | None = None
    version: int | None = None
    fingerprint: str | None = None


def policy(text: str | None) -> Action:
    """Raises InvalidInput."""
    if text is None:
        return Action.ACCEPT
    if text not in _ACTIONS:
        raise _wrong("policy", f"There are {' and '.join(_ACTIONS)}")
    return _ACTIONS[text]


def translated(rules: Rules) -> list[tuple[Rule, dict[str, str]]]:
    """Ours, each with what of theirs cannot be read from it again. Raises InvalidInput."""
    both = ((Direction.INBOUND, rules.inbound), (Direction.OUTBOUND, rules.outbound))
    return [_translated(rule, direction) for direction, given in both for rule in given]


def rules_of(rules: list[tuple[Rule, dict[str, str]]]) -> tuple[Rule, ...]:
    return tuple(rule for rule, _ in rules)


def _translated(theirs: TheirRule, direction: Direction) -> tuple[Rule, dict[str, str]]:
    if theirs.protocol not in _PROTOCOLS:
        raise _wrong("protocol", f"There are {', '.join(_PROTOCOLS)} here")
    if theirs.action not in _ACTIONS:
        raise _wrong("action", f"There are {' and '.join(_ACTIONS)}")
    given = [*(theirs.addresses.ipv4 or ()), *(theirs.addresses.ipv6 or ())]
    if not given:
        raise _wrong("addresses", "Say who: addresses of IPv4 or IPv6, 0.0.0.0/0 and ::/0 for everybody")
    peers = [Peer(PeerKind.PREFIX, _prefix(address)) for address in given]
    traffic = _PROTOCOLS[theirs.protocol]
    rule = Rule(
        "",
        direction,
        _ACTIONS[theirs.action],
        traffic,
        _ports(theirs.ports or "", traffic),
        () if set(given) == _EVERYBODY else tuple(dict.fromkeys(peers)),
    )
    facts = {
        "ports": theirs.ports or "",
        "addresses": ",".join(given),
        "label": (theirs.label or "")[:32],
        "description": (theirs.description or "")[:100],
    }
    return rule, facts


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise _wrong("addresses", str(error)) from error


def _ports(text: str, traffic: Traffic) -> tuple[PortRange, ...]:
    """Of a text like `22, 80-443`; none are all."""
    if traffic is Traffic.ICMP and text.strip():
        raise _wrong("ports", "ICMP has none")
    found = []
    for part in text.split(",") if text.strip() else ():
        first, _, last = (end.strip() for end in part.partition("-"))
        if not all(end.isascii() and end.isdigit() and 1 <= int(end) <= 65535 for end in (first, last or first)):
            raise _wrong("ports", f"{part[:40]!r} is neither a port nor a range like 8000-9000")
        found.append(PortRange(int(first), int(last or first)))
    return tuple(found)


def _wrong(field: str, why: str) -> InvalidInput:
    return InvalidInput(
        "This firewall rule cannot be", why=why, todo=f"Correct its {field}", fields={f"rules.{field}": why}
    )


def rules_view(found: ProjectFirewall, aliases: Mapping[str, Alias]) -> dict[str, Any]:
    """Rules about traffic of any kind, which theirs cannot be, are told as one for each."""
    shown: dict[str, Any] = {"inbound": [], "outbound": []}
    for rule in found.rules:
        kinds = [rule.traffic] if rule.traffic is not Traffic.ANY else list(_PROTOCOLS.values())
        shown[rule.direction.value] += [_view(rule, kind, aliases[rule.id].facts) for kind in kinds]
    shown |= {
        "inbound_policy": found.inbound_default.value.upper(),
        "outbound_policy": found.outbound_default.value.upper(),
    }
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    return shown | {"version": int(aliases[found.id].facts.get("version", "1")), "fingerprint": digest[:8]}


def _view(rule: Rule, kind: Traffic, facts: Mapping[str, str]) -> dict[str, Any]:
    """What a rule does not have is left out, as there."""
    known = [one for one in facts.get("addresses", "").split(",") if one]
    addresses = known or [peer.value for peer in rule.peers if peer.kind is PeerKind.PREFIX] or sorted(_EVERYBODY)
    ports = facts.get("ports") or ", ".join(_range(ports) for ports in rule.ports)
    by_version = {
        "ipv4": [one for one in addresses if ":" not in one],
        "ipv6": [one for one in addresses if ":" in one],
    }
    texts = {"ports": ports, "label": facts.get("label"), "description": facts.get("description")}
    return {
        "action": rule.action.value.upper(),
        "protocol": kind.value.upper(),
        "addresses": {name: some for name, some in by_version.items() if some},
        **{name: text for name, text in texts.items() if text},
    }


def _range(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"

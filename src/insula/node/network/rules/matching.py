"""A firewall's rules as nftables text. Rules of one firewall stand in one chain, whichever instances it applies to."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from insula.domain.firewall import Action, Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import IpNetwork, Network, parse_prefix
from insula.node.network.rules.skeleton import LET_IN
from insula.node.network.rules.table import Chain

LOG_GROUP = 86  # of nfnetlink_log; who listens there gets a sample of what was dropped
_LOG_LIMIT = "limit rate 20/second burst 20 packets"
_MOST_CHARS = 8000
_KIND_LETTER = {PeerKind.TAG: "t", PeerKind.FIREWALL: "f"}


def group_name(peer: Peer, version: int) -> str:
    """The set that holds the addresses of a tag's or a firewall's instances."""
    # A tag may be any text; a set's name may not.
    return f"{_KIND_LETTER[peer.kind]}{version}_{_digest(peer.value)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def chain_name(firewall_id: str, direction: Direction) -> str:
    return f"{'in' if direction is Direction.INBOUND else 'out'}_{firewall_id}"


def counter_name(rule_id: str) -> str:
    return f"rule_{rule_id}"


def log_of(prefix: str) -> str:
    """The expression that tells of a packet, no more than so many a second."""
    return f'{_LOG_LIMIT} log prefix "{prefix}" group {LOG_GROUP}'


def firewall_chains(firewall: Firewall, direction: Direction, networks: Mapping[str, Network]) -> dict[str, Chain]:
    """The rules of one direction; what none of them decides goes back to the caller's chain.

    Many rules are put into several chains named after what they hold: these come and go as a whole, and the one that
    leads to them is short enough to be changed at once.
    """
    lines: list[str] = []
    for rule in firewall.rules:
        if rule.direction is direction:
            lines += _rule_lines(rule, networks)
    name = chain_name(firewall.id, direction)
    if sum(map(len, lines)) <= _MOST_CHARS:
        return {name: Chain(tuple(lines))}
    parts = {f"{name}_{_digest(chr(10).join(part))}": Chain(tuple(part)) for part in _cut(lines)}
    return {**parts, name: Chain(tuple(f"jump {part}" for part in parts))}


def _cut(lines: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for line in lines:
        if part and sum(map(len, part)) + len(line) > _MOST_CHARS:
            yield part
            part = []
        part.append(line)
    yield part


def _rule_lines(rule: Rule, networks: Mapping[str, Network]) -> Iterator[str]:
    side = "saddr" if rule.direction is Direction.INBOUND else "daddr"
    traffic = _traffic(rule.traffic, rule.ports)
    is_passed_on = rule.action is Action.ACCEPT and rule.direction is Direction.OUTBOUND
    verdict = f"counter name {counter_name(rule.id)} {f'goto {LET_IN}' if is_passed_on else rule.action.value}"
    for peers in _peers(rule.peers, side, networks):
        match = f"{peers}{traffic}"
        if rule.log:
            yield f"{match}{log_of(f'rule {rule.id}')}"
        yield f"{match}{verdict}"


def _traffic(traffic: Traffic, ports: Sequence[PortRange]) -> str:
    if traffic is Traffic.ANY:
        return ""
    if traffic is Traffic.ICMP:
        return "meta l4proto { icmp, ipv6-icmp } "
    if not ports:
        return f"meta l4proto {traffic.value} "
    ranges = [f"{first}-{last}" if first != last else f"{first}" for first, last in merged(ports)]
    return f"{traffic.value} dport {_one_or_many(ranges)} "


def merged(ports: Iterable[PortRange]) -> list[tuple[int, int]]:
    """The same ports as ranges that neither overlap nor touch."""
    found: list[tuple[int, int]] = []
    for ports_range in sorted(ports, key=lambda item: item.first):
        if found and ports_range.first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], ports_range.last))
        else:
            found.append((ports_range.first, ports_range.last))
    return found


def _one_or_many(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{{ {', '.join(items)} }}"


def _peers(peers: Sequence[Peer], side: str, networks: Mapping[str, Network]) -> Iterator[str]:
    """One match for each way in which a packet can be from or to one of the peers."""
    if not peers:
        yield ""
        return
    prefixes = [prefix for peer in peers for prefix in _prefixes(peer, networks)]
    for version, family in ((4, "ip"), (6, "ip6")):
        texts = collapsed(prefixes, version)
        if texts:
            yield f"{family} {side} {_one_or_many(texts)} "
    for peer in peers:
        if peer.kind in _KIND_LETTER:
            yield f"ip {side} @{group_name(peer, 4)} "
            yield f"ip6 {side} @{group_name(peer, 6)} "


def collapsed(prefixes: Iterable[IpNetwork], version: int) -> list[str]:
    """Those of one version, as text, so that none overlaps another."""
    if version == 4:
        return [_text(p) for p in ipaddress.collapse_addresses(p for p in prefixes if isinstance(p, IPv4Network))]
    return [_text(p) for p in ipaddress.collapse_addresses(p for p in prefixes if isinstance(p, IPv6Network))]


def _text(prefix: IpNetwork) -> str:
    return str(prefix.network_address) if prefix.num_addresses == 1 else str(prefix)


def _prefixes(peer: Peer, networks: Mapping[str, Network]) -> list[IpNetwork]:
    if peer.kind is PeerKind.PREFIX:
        texts = [peer.value]
    elif peer.kind is PeerKind.NETWORK:
        texts = [text for text in (networks[peer.value].ipv4, networks[peer.value].ipv6) if text]
    else:
        return []
    return [prefix for prefix in map(parse_prefix, texts) if prefix is not None]


def has_rules(firewall: Firewall, direction: Direction) -> bool:
    return any(rule.direction is direction for rule in firewall.rules)

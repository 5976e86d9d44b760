"""Differences lead from any table to any other; a small nftables that only keeps books follows the commands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as some

from insula.domain.firewall import Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.instance import PortForward
from insula.domain.network import Forward, Member, Network, PublicAddress, Space, check
from insula.domain.port import Port
from insula.node.network.rules import table as tables
from insula.node.network.rules.compile import Memory, compile_table
from insula.node.network.rules.table import Count, Table

_NETWORKS = (Network("net_a", 1, "10.1.0.0/24", "fd00:1::/64"), Network("net_b", 2, "10.2.0.0/24"))


def _port(number: int, network: Network, also: tuple[str, ...], pace: int) -> Port:
    ipv6 = f"fd00:1::{number + 16:x}" if network.ipv6 else ""
    address = network.ipv4.replace("0/24", str(number + 16))
    mac = f"02:00:00:00:00:{number:02x}"
    return Port(f"prt_{number}", number, f"ins_{number}", network.id, mac, address, ipv6, also, 0, pace)


_PORTS: some.SearchStrategy[tuple[Port, ...]] = some.lists(
    some.tuples(
        some.integers(1, 6),
        some.sampled_from(_NETWORKS),
        some.sampled_from([(), ("10.50.0.0/16",)]),
        some.sampled_from([0, 100]),
    ),
    unique_by=lambda drawn: drawn[0],
    max_size=5,
).map(lambda drawn: tuple(_port(*parts) for parts in drawn))
_PEERS = some.sampled_from(
    [
        Peer(PeerKind.PREFIX, "10.0.0.0/8"),
        Peer(PeerKind.PREFIX, "10.1.0.0/16"),
        Peer(PeerKind.TAG, "web"),
        Peer(PeerKind.TAG, "env:test"),
        Peer(PeerKind.NETWORK, "net_a"),
    ]
)
_RULES = some.lists(
    some.tuples(some.sampled_from(list(Direction)), some.lists(_PEERS, max_size=2), some.booleans()), max_size=4
)


@some.composite
def _spaces(draw: some.DrawFn) -> Space:
    ports = draw(_PORTS)
    tags: some.SearchStrategy[tuple[str, ...]] = some.sampled_from([(), ("web",), ("web", "env:test")])
    members = tuple(Member(port.instance_id, f"host{port.number}", draw(tags)) for port in ports)
    firewalls = []
    for number in range(draw(some.integers(0, 3))):
        rules = tuple(
            Rule(
                f"rul_{number}_{order}",
                direction,
                traffic=Traffic.TCP,
                ports=(PortRange(22, 22),),
                peers=tuple(peers),
                log=log,
            )
            for order, (direction, peers, log) in enumerate(draw(_RULES))
        )
        firewalls.append(Firewall(f"fwl_{number}", rules, draw(some.sampled_from([(), ("ins_1",)])), ("web",)))
    space = Space("prj_1", _NETWORKS, members, ports, tuple(firewalls))
    has_ways_in: bool = draw(some.booleans())
    if ports and has_ways_in:
        port_id = draw(some.sampled_from(ports)).id
        forward = Forward(port_id, PortForward(22, 2222))
        space = replace(space, forwards=(forward,), addresses=(PublicAddress("203.0.113.5", port_id),))
    check(space)
    return space


class Books:
    """Keeps what the commands say, and refuses what nftables would refuse."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.elements: dict[str, dict[str, str]] = {}
        self.counters: set[str] = set()
        self.limits: set[str] = set()

    def follow(self, units: Iterable[tables.Unit]) -> None:
        for unit in units:
            for line in unit:
                self._do(line)

    def _do(self, line: str) -> None:
        verb, kind, _, *rest = line.split(None, 5)
        words = line.split(f"inet {tables.NAME}", 1)[1].split(None, 1)
        if kind == "table":
            if verb == "delete":
                self.__init__()  # type: ignore[misc]
            return
        name, tail = words[0], words[1] if len(words) > 1 else ""
        getattr(self, f"_{verb}_{kind}")(name, tail)
        assert rest or verb

    def _add_chain(self, name: str, _: str) -> None:
        self.chains.setdefault(name, [])

    def _flush_chain(self, name: str, _: str) -> None:
        self.chains[name].clear()

    def _delete_chain(self, name: str, _: str) -> None:
        assert not self.chains.pop(name)
        assert f"jump {name}" not in self._verdicts(), name

    def _add_rule(self, name: str, rule: str) -> None:
        assert set(re.findall(r"@(\w+)", rule)) <= set(self.elements), rule
        assert set(re.findall(r"counter name ([a-z]\w*) (?!map)", rule + " ")) <= self.counters, rule
        assert set(re.findall(r"(?:jump|goto) (\w+)", rule)) <= set(self.chains), rule
        self.chains[name].append(rule)

    def _add_set(self, name: str, _: str) -> None:
        self.elements.setdefault(name, {})

    _add_map = _add_set

    def _delete_set(self, name: str, _: str) -> None:
        assert not any(f"@{name}" in rule for rules in self.chains.values() for rule in rules)
        del self.elements[name]

    _delete_map = _delete_set

    def _add_counter(self, name: str, _: str) -> None:
        self.counters.add(name)

    def _delete_counter(self, name: str, _: str) -> None:
        text = " ".join(rule for rules in self.chains.values() for rule in rules)
        assert f"counter name {name} " not in text
        assert not any(f'"{name}"' in value for held in self.elements.values() for value in held.values())
        self.counters.remove(name)

    def _add_limit(self, name: str, _: str) -> None:
        self.limits.add(name)

    def _delete_limit(self, name: str, _: str) -> None:
        assert not any(f'"{name}"' in value for held in self.elements.values() for value in held.values())
        self.limits.remove(name)

    def _add_element(self, name: str, text: str) -> None:
        for element in text.strip("{} ").split(", "):
            key = element.split(" : ")[0]
            assert self.elements[name].get(key, element) == element, "what is there has to go first"
            target = re.search(r": jump (\w+)", element)
            assert target is None or target[1] in self.chains
            self.elements[name][key] = element

    def _delete_element(self, name: str, text: str) -> None:
        for key in text.strip("{} ").split(", "):
            del self.elements[name][key]

    def _verdicts(self) -> str:
        return " ".join(value for held in self.elements.values() for value in held.values())

    def assert_is(self, table: Table) -> None:
        wanted = {name: list(chain.rules) for name, chain in {**table.skeleton, **table.chains}.items()}
        assert self.chains == wanted
        assert self.elements == {name: dict(group.elements) for name, group in table.groups.items()}
        assert (self.counters, self.limits) == (set(table.counters), set(table.limits))


@settings(max_examples=60, deadline=None)
@given(some.lists(_spaces(), min_size=1, max_size=4))
def test_differences_lead_from_any_table_to_any_other(spaces: list[Space]) -> None:
    books, memory, before = Books(), Memory(), None
    for space in spaces:
        table = compile_table(space, memory)
        assert table == compile_table(space), "what is remembered changes nothing"
        books.follow(tables.creation(table) if before is None else tables.difference(before, table))
        books.assert_is(table)
        before = table


def test_the_same_table_needs_nothing() -> None:
    space = Space("prj_1", _NETWORKS, (Member("ins_1", "a"),), (_port(1, _NETWORKS[0], (), 0),))
    assert list(tables.difference(compile_table(space), compile_table(space))) == []


def test_until_the_end_of_a_creation_nothing_is_opened() -> None:
    space = Space("prj_1", _NETWORKS, (Member("ins_1", "a"),), (_port(1, _NETWORKS[0], (), 0),))
    table = compile_table(space)
    lines = [line for unit in tables.creation(table, {"forged": Count(3, 400)}) for line in unit]
    opening = [
        order for order, line in enumerate(lines) if "add element" in line and ("reach" in line or "outward" in line)
    ]
    others = [order for order, line in enumerate(lines) if "add element" in line and "own" in line]
    assert min(opening) > max(others)
    assert lines[:3] == ["add table inet insula", "delete table inet insula", "add table inet insula"]


def test_large_changes_are_cut_between_units() -> None:
    units = [("one", "two"), ("three",), ("four", "five")]
    assert list(tables.transactions(units, 10)) == ["one\ntwo\n", "three\n", "four\nfive\n"]
    assert list(tables.transactions(units, 1000)) == ["one\ntwo\nthree\nfour\nfive\n"]


def test_many_rules_of_a_firewall_come_in_chains_of_a_bearable_size() -> None:
    rules = tuple(
        Rule(f"rul_{n}", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(n, n),)) for n in range(500)
    )
    member, port = Member("ins_1", "a"), _port(1, _NETWORKS[0], (), 0)
    space = Space("prj_1", _NETWORKS, (member,), (port,), (Firewall("fwl_1", rules, ("ins_1",)),))
    before = compile_table(space)
    changed = (*rules[:-1], replace(rules[-1], traffic=Traffic.UDP))
    after = compile_table(replace(space, firewalls=(Firewall("fwl_1", changed, ("ins_1",)),)))
    units = list(tables.difference(before, after))
    assert max(sum(map(len, unit)) for unit in units) < 24_000
    books = Books()
    books.follow(tables.creation(before))
    books.follow(units)
    books.assert_is(after)
    assert sum(len(unit) for unit in units) < 200

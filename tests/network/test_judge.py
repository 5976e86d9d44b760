"""The judge says of random packets what the packet filter does with them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insula.domain.firewall import Action, Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import Member, Network, Space
from insula.domain.packet_judge import Decision, Judge, Packet, Stage
from tests.network import frames
from tests.network.world import OUTSIDE, World, port_of, space_of

_NETWORKS = (
    Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64"),
    Network("net_blue", 2, "10.2.0.0/24", "fd00:2::/64", gateway=False),
    Network("net_green", 3, "10.3.0.0/24", "fd00:3::/64"),
)
_PORTS = (
    *(port_of(number, _NETWORKS[0]) for number in (1, 2, 3)),
    *(port_of(number, _NETWORKS[1]) for number in (4, 5)),
    port_of(6, _NETWORKS[2]),
    replace(port_of(7, _NETWORKS[2]), instance_id="ins_6"),  # its second card
)
_TAGS = ("web", "db", "env:test")
_SPACES, _PACKETS = 50, 20
_OUTSIDE_ADDRESSES = ("198.51.100.7", "203.0.113.9", "2001:db8::7", "2001:db8:1::9")
_PREFIXES = (
    *("10.1.0.0/24", "10.0.0.0/8", "10.2.0.20", "198.51.100.0/24", "0.0.0.0/0"),
    *("fd00:1::/64", "fd00::/16", "2001:db8::7", "::/0", "10.1.0.18"),
)
_GATES = (22, 53, 80, 443, 8080)


class Chance:
    """Random spaces and packets, of a randomness that hypothesis can make smaller."""

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def space(self) -> Space:
        pick = self._random
        members = tuple(
            Member(f"ins_{number}", f"host{number}", tuple(pick.sample(_TAGS, pick.randint(0, 2))))
            for number in range(1, 7)
        )
        firewalls = tuple(self._firewall(number) for number in range(pick.randint(0, 4)))
        # A rule may name any firewall that there is.
        known = [firewall.id for firewall in firewalls]
        joined = tuple(pick.sample((("net_red", "net_blue"), ("net_green", "net_red")), pick.randint(0, 2)))
        space = space_of(_NETWORKS, _PORTS, firewalls=firewalls, joined=joined)
        return replace(space, members=members, firewalls=tuple(self._without_unknown(f, known) for f in firewalls))

    def _firewall(self, number: int) -> Firewall:
        pick = self._random
        rules = tuple(self._rule(f"rul_{number}_{order}") for order in range(pick.randint(0, 5)))
        return Firewall(
            f"fwl_{number}",
            rules,
            tuple(f"ins_{instance}" for instance in pick.sample(range(1, 7), pick.randint(0, 3))),
            tuple(pick.sample(_TAGS, pick.randint(0, 1))),
            pick.choice(list(Action)),
            pick.choice(list(Action)),
        )

    def _rule(self, name: str) -> Rule:
        pick = self._random
        traffic = pick.choice(list(Traffic))
        ports: tuple[PortRange, ...] = ()
        if traffic in {Traffic.TCP, Traffic.UDP} and pick.random() < 0.7:
            ports = tuple(PortRange(gate, gate + pick.choice((0, 0, 100))) for gate in pick.sample(_GATES, 2))
        peers = tuple(self._peer() for _ in range(pick.choice((0, 1, 1, 2, 3))))
        return Rule(
            name, pick.choice(list(Direction)), pick.choice(list(Action)), traffic, ports, peers, name[-1] == "1"
        )

    def _peer(self) -> Peer:
        kind = self._random.choice(list(PeerKind))
        values = {
            PeerKind.PREFIX: _PREFIXES,
            PeerKind.TAG: _TAGS,
            PeerKind.NETWORK: tuple(network.id for network in _NETWORKS),
            PeerKind.FIREWALL: ("fwl_0", "fwl_1"),
        }
        return Peer(kind, self._random.choice(values[kind]))

    @staticmethod
    def _without_unknown(firewall: Firewall, known: list[str]) -> Firewall:
        rules = (
            replace(rule, peers=tuple(p for p in rule.peers if p.kind is not PeerKind.FIREWALL or p.value in known))
            for rule in firewall.rules
        )
        return replace(firewall, rules=tuple(rules))

    def packet(self) -> Packet:
        pick = self._random
        version = pick.choice((4, 6))
        sender = pick.choice(_PORTS)
        source = sender.ipv4 if version == 4 else sender.ipv6
        everybody = [p.ipv4 if version == 4 else p.ipv6 for p in _PORTS if p is not sender]
        outside = [address for address in _OUTSIDE_ADDRESSES if (":" in address) == (version == 6)]
        if pick.random() < 0.1:
            source = pick.choice(everybody + outside)
        destination = pick.choice([*everybody * 2, *outside, "10.1.0.200" if version == 4 else "fd00:1::200"])
        traffic = pick.choice((Traffic.TCP, Traffic.UDP, Traffic.ICMP))
        gate = pick.choice((*_GATES, 9999)) if traffic is not Traffic.ICMP else 0
        return Packet(source, destination, traffic, gate, sender.id)


def _send(world: World, packet: Packet, mark: int) -> None:
    body = {
        Traffic.TCP: frames.tcp(mark, packet.port),
        Traffic.UDP: frames.udp(mark, packet.port),
        Traffic.ICMP: frames.echo(packet.source, mark),
    }[packet.traffic]
    assert packet.from_port is not None
    world.send_packet(packet.from_port, packet.source, packet.destination, packet.traffic.value, body)


def _where(packet: Packet) -> str:
    inside = {address: port.id for port in _PORTS for address in (port.ipv4, port.ipv6)}
    return inside.get(packet.destination, OUTSIDE)


_MARKS = itertools.cycle(range(1024, 65000))


@pytest.fixture
async def outside(world: World) -> World:
    """With something at the other end of its way out."""
    await world.apply(space_of(_NETWORKS, _PORTS))
    await world.open_outside()
    return world


@pytest.fixture
def stages() -> Iterator[set[tuple[bool, Stage]]]:
    """What decided about the packets of a test; in the end all that can has to be among it."""
    found: set[tuple[bool, Stage]] = set()
    yield found
    assert found >= {(False, Stage.GUARD), (False, Stage.REACH), (False, Stage.INBOUND), (True, Stage.INBOUND)}
    assert found >= {(False, Stage.OUTBOUND), (True, Stage.OUTBOUND)}


@settings(
    max_examples=_SPACES,
    deadline=None,
    derandomize=True,  # every machine looks at the same ones
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(source=st.randoms(use_true_random=False))
async def test_the_judge_and_the_packet_filter_agree_on_a_thousand_random_packets(
    outside: World, stages: set[tuple[bool, Stage]], source: random.Random
) -> None:
    chance = Chance(source)
    space = chance.space()
    await outside.apply(space)
    await outside.clear()
    judge = Judge(space)
    asked: dict[int, tuple[Packet, Decision]] = {}
    for _ in range(_PACKETS):
        packet = chance.packet()
        mark = next(_MARKS)
        asked[mark] = (packet, judge.decide(packet))
        _send(outside, packet, mark)
    # Masquerading keeps the source port while nobody else has it.
    arrived = {name: {packet.mark for packet in await outside.seen_at(name)} for name in outside.taps}
    for mark, (packet, decision) in asked.items():
        assert (mark in arrived[_where(packet)]) == decision.passes, (packet, decision, space)
    stages.update((decision.passes, decision.stage) for _, decision in asked.values())


@pytest.mark.parametrize("version", [4, 6])
async def test_answers_pass_whatever_the_rules_say(world: World, version: int) -> None:
    closed = Firewall("fwl_closed", outbound_default=Action.DROP, instances=("ins_2",))
    opened = Rule("rul_in", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(80, 80),))
    await world.apply(space_of(_NETWORKS, _PORTS, firewalls=(replace(closed, rules=(opened,)),)))
    await world.clear()
    one, other = ((port.ipv4 if version == 4 else port.ipv6) for port in (world.port("prt_1"), world.port("prt_2")))
    world.send_packet("prt_2", other, one, "tcp", frames.tcp(4000, 80))
    assert await world.seen_at("prt_1") == []
    world.send_packet("prt_1", one, other, "tcp", frames.tcp(4000, 80))
    assert len(await world.seen_at("prt_2")) == 1
    world.send_packet("prt_2", other, one, "tcp", frames.tcp(80, 4000, frames.SYN_ACK, 5, 1001))
    assert len(await world.seen_at("prt_1")) == 1
    counted = (await world.keeper.traffic()).rules["rul_in"]
    assert counted.packets == 1
    assert (await world.keeper.traffic()).dropped["ins_2"].packets == 1

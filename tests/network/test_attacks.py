"""What a hostile guest sends does not come to its neighbour; without the guard most of it would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from insula.domain.network import Network
from tests.network import frames
from tests.network.world import OUTSIDE, World, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_BLUE = Network("net_blue", 2, "10.2.0.0/24", "fd00:2::/64")
_PORTS = (port_of(1, _RED), port_of(2, _RED), port_of(3, _RED), port_of(4, _BLUE))
_EVIL, _VICTIM, _FRIEND, _STRANGER = _PORTS
_OTHER_MAC = "02:66:66:66:66:66"


@dataclass(frozen=True)
class Attack:
    """What port 1 sends, and what port 2 would receive: told apart by the attack's own mark or text."""

    name: str
    frame: Callable[[], bytes]
    mark: int


def _udp(name: str, source: str, destination: str, mark: int, *, mac: str = _EVIL.mac, gate: int = 9) -> Attack:
    protocol = frames.UDP
    return Attack(name, lambda: frames.ip(mac, source, destination, protocol, frames.udp(mark, gate)), mark)


def _icmp6(name: str, source: str, kind: int, mark: int, rest: int = 20) -> Attack:
    body = frames.icmp(kind, 0, mark.to_bytes(2, "big") + bytes(rest))
    return Attack(name, lambda: frames.ip(_EVIL.mac, source, _VICTIM.ipv6, frames.ICMP6, body), mark)


# Each passes a router that only routes.
ATTACKS = (
    _udp("the address of a neighbour", _FRIEND.ipv4, _VICTIM.ipv4, 2001),
    _udp("the IPv6 address of a neighbour", _FRIEND.ipv6, _VICTIM.ipv6, 2002),
    _udp("a free address of the network", "10.1.0.99", _VICTIM.ipv4, 2003),
    _udp("a free IPv6 address of the network", "fd00:1::99", _VICTIM.ipv6, 2004),
    _udp("a hardware address of somebody else", _EVIL.ipv4, _VICTIM.ipv4, 2005, mac=_OTHER_MAC),
    _udp("a hardware address of somebody else, IPv6", _EVIL.ipv6, _VICTIM.ipv6, 2006, mac=_OTHER_MAC),
    _udp("the hardware and network address of a neighbour", _FRIEND.ipv4, _VICTIM.ipv4, 2007, mac=_FRIEND.mac),
    Attack(
        "a connection in a neighbour's name",
        lambda: frames.ip(_EVIL.mac, _FRIEND.ipv4, _VICTIM.ipv4, frames.TCP, frames.tcp(2008, 22)),
        2008,
    ),
    Attack(
        "an echo whose answers a neighbour gets",
        lambda: frames.ip(_EVIL.mac, _FRIEND.ipv4, _VICTIM.ipv4, frames.ICMP, frames.echo(_FRIEND.ipv4, 2009)),
        2009,
    ),
    _udp("an answer of a DHCP server", _EVIL.ipv4, _VICTIM.ipv4, 67, gate=68),
    _udp("an answer of a DHCPv6 server", _EVIL.ipv6, _VICTIM.ipv6, 547, gate=546),
    Attack(
        "a redirect to itself",
        lambda: frames.ip(
            _EVIL.mac, _EVIL.ipv4, _VICTIM.ipv4, frames.ICMP, frames.icmp(5, 1, b"\x07\xdc\x00\x00" + bytes(28))
        ),
        0,
    ),
    _icmp6("a router advertisement", _EVIL.ipv6, 134, 2012),
    _icmp6("a neighbour advertisement", _EVIL.ipv6, 136, 2013),
    _icmp6("a redirect, IPv6", _EVIL.ipv6, 137, 2014, 36),
)
# These do not pass a router at all, since nobody shares a segment.
HOPELESS = {
    "an ARP answer for a neighbour": frames.arp(_EVIL.mac, _FRIEND.ipv4, _VICTIM.ipv4, operation=2, to=_VICTIM.mac),
    "an ARP announcement of the router's address": frames.arp(_EVIL.mac, _RED.router4, _RED.router4),
    "an ARP answer in the router's name to all": frames.arp(_EVIL.mac, _RED.router4, _VICTIM.ipv4, operation=2),
    "a frame to the neighbour's card": frames.ip(
        _EVIL.mac, _EVIL.ipv4, _VICTIM.ipv4, frames.UDP, frames.udp(2020, 9)
    ).replace(b"\x06insul", bytes.fromhex(_VICTIM.mac.replace(":", "")), 1),
    "a broadcast": b"\xff" * 6
    + frames.ip(_EVIL.mac, _EVIL.ipv4, "255.255.255.255", frames.UDP, frames.udp(2021, 9))[6:],
    "a DHCP offer to all": b"\xff" * 6
    + frames.ip(_EVIL.mac, _EVIL.ipv4, "255.255.255.255", frames.UDP, frames.udp(67, 68))[6:],
    "a router advertisement to all": bytes.fromhex("333300000001")
    + frames.ip(_EVIL.mac, "fe80::66", "ff02::1", frames.ICMP6, frames.icmp(134, 0, bytes(12)))[6:],
    "a bridge's hello": bytes.fromhex("0180c2000000") + frames.ethernet(_EVIL.mac, b"\x42\x42\x03" + bytes(35), 38)[6:],
    "a frame with a VLAN's tag": frames.ethernet(_EVIL.mac, b"\x00\x02\x08\x00" + bytes(40), 0x8100),
    "an unknown protocol": frames.ethernet(_EVIL.mac, bytes(60), 0x88B5, frames.BROADCAST),
}


async def _arrives(world: World, attack: Attack) -> bool:
    world.send(_EVIL.id, attack.frame())
    seen = await world.seen_at(_VICTIM.id)
    marks = {packet.mark for packet in seen} | {int.from_bytes(packet.payload[4:6], "big") for packet in seen}
    return attack.mark in marks if attack.mark else bool(seen)


async def test_no_attack_comes_to_the_neighbour(world: World) -> None:
    await world.apply(space_of([_RED, _BLUE], _PORTS))
    await world.clear()
    assert [attack.name for attack in ATTACKS if await _arrives(world, attack)] == []
    # All but the neighbour advertisement, which a guest may send to its router, and which goes no further.
    assert (await world.keeper.traffic()).forged.packets == len(ATTACKS) - 1
    # The guard is no wall: what is honest passes.
    assert await _arrives(world, _udp("honest", _EVIL.ipv4, _VICTIM.ipv4, 2100))
    assert await _arrives(world, _udp("honest, IPv6", _EVIL.ipv6, _VICTIM.ipv6, 2101))


async def test_without_the_guard_the_attacks_are_real(world: World) -> None:
    """Else the test before would prove nothing."""
    await world.apply(space_of([_RED, _BLUE], _PORTS))
    await world.clear()
    await world.steward.ask(
        "rules",
        text="flush chain inet insula guard\nflush chain inet insula reach\nadd rule inet insula reach accept\n",
    )
    arrived = [attack.name for attack in ATTACKS if await _arrives(world, attack)]
    assert len(arrived) >= 10, arrived


async def test_nothing_below_ip_comes_to_anybody(world: World) -> None:
    await world.apply(space_of([_RED, _BLUE], _PORTS))
    await world.clear()
    for frame in HOPELESS.values():
        world.send(_EVIL.id, frame)
    for port in (_VICTIM, _FRIEND, _STRANGER):
        assert await world.seen_at(port.id) == []
    # The router still knows who has which address.
    answer = frames.ip(_VICTIM.mac, _VICTIM.ipv4, _FRIEND.ipv4, frames.UDP, frames.udp(1, 2))
    world.send(_VICTIM.id, answer)
    assert len(await world.seen_at(_FRIEND.id)) == 1


@pytest.mark.parametrize("target", [_RED.router4, "127.0.0.1", "169.254.169.254", "100.127.9.1"])
async def test_the_router_itself_offers_only_what_it_must(world: World, target: str) -> None:
    """Name service, DHCP and metadata; nothing else, not even on the metadata's address."""
    await world.apply(space_of([_RED, _BLUE], _PORTS))
    await world.open_outside()
    await world.clear()
    for gate in (22, 111, 7780):
        world.send_packet(_EVIL.id, _EVIL.ipv4, target, "tcp", frames.tcp(3000 + gate, gate))
    assert [packet for packet in await world.seen_at(_EVIL.id) if packet.protocol == frames.TCP] == []
    assert await world.seen_at(OUTSIDE) == []

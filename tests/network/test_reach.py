"""Who reaches whom in a space, and who does not."""

from __future__ import annotations

import asyncio
import struct

from insula.domain.network import Network
from insula.node.network.layout import ROUTER_MAC
from tests.network import frames
from tests.network.world import OUTSIDE, World, port_of, space_of

RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
BLUE = Network("net_blue", 2, "10.2.0.0/24", "fd00:2::/64")
CLOSED = Network("net_closed", 3, "10.3.0.0/24", "fd00:3::/64", gateway=False)


async def stand(world: World, **parts: object) -> None:
    ports = [port_of(1, RED), port_of(2, RED), port_of(3, BLUE), port_of(4, CLOSED), port_of(5, CLOSED)]
    await world.apply(space_of([RED, BLUE, CLOSED], ports, **parts))
    await world.clear()


async def reaches(world: World, sender: str, receiver: str, version: int) -> bool:
    one, other = world.port(sender), world.port(receiver)
    source, destination = (one.ipv4, other.ipv4) if version == 4 else (one.ipv6, other.ipv6)
    world.send_packet(sender, source, destination, "udp", frames.udp(4000, 5000))
    return [packet.source for packet in await world.seen_at(receiver)] == [source]


async def test_those_of_one_network_reach_each_other_and_nobody_else(world: World) -> None:
    await stand(world)
    for version in (4, 6):
        assert await reaches(world, "prt_1", "prt_2", version)
        assert await reaches(world, "prt_4", "prt_5", version)
        assert not await reaches(world, "prt_1", "prt_3", version)
        assert not await reaches(world, "prt_3", "prt_4", version)
    await stand(world, joined=(("net_red", "net_blue"),))
    for version in (4, 6):
        assert await reaches(world, "prt_1", "prt_3", version)
        assert await reaches(world, "prt_3", "prt_2", version)
        assert not await reaches(world, "prt_3", "prt_4", version)


async def test_the_router_has_the_hardware_address_of_every_neighbour(world: World) -> None:
    await stand(world)
    mac = world.port("prt_1").mac
    for target in (RED.router4, world.port("prt_2").ipv4):
        world.send("prt_1", frames.arp(mac, world.port("prt_1").ipv4, target))
        await asyncio.sleep(0.03)
        answers = [frame for frame in world.frames_at("prt_1") if frame[12:14] == b"\x08\x06"]
        assert [frame[22:28] for frame in answers] == [bytes.fromhex(ROUTER_MAC.replace(":", ""))]
    # Its own address, which it asks for to find out whether it is alone, and one that nobody has.
    for target in (world.port("prt_1").ipv4, "10.1.0.200"):
        world.send("prt_1", frames.arp(mac, "0.0.0.0", target))
        await asyncio.sleep(0.03)
        assert [frame for frame in world.frames_at("prt_1") if frame[12:14] == b"\x08\x06"] == []
    assert [frame for frame in world.frames_at("prt_2") if frame[12:14] == b"\x08\x06"] == []


async def test_answers_come_back_through_a_way_out_and_strangers_do_not(world: World) -> None:
    await stand(world)
    await world.open_outside()
    for source, outside, kind in (("10.1.0.17", "198.51.100.7", "udp"), ("fd00:1::11", "2001:db8::7", "tcp")):
        body = frames.udp(4000, 53) if kind == "udp" else frames.tcp(4000, 80)
        world.send_packet("prt_1", source, outside, kind, body)
        (left,) = await world.seen_at(OUTSIDE)
        assert left.source in {"100.127.9.1", "fd99::1"}, "the space's own address stands for the guest's"
        reply = frames.udp(53, left.mark) if kind == "udp" else frames.tcp(80, left.mark, frames.SYN_ACK, 5, 1001)
        world.send_packet(OUTSIDE, outside, left.source, kind, reply)
        assert [packet.destination for packet in await world.seen_at("prt_1")] == [source]
        world.send_packet(OUTSIDE, "198.51.100.9", "10.1.0.17", "udp", frames.udp(53, 4000))
        assert await world.seen_at("prt_1") == []


async def test_a_network_without_a_gateway_leads_nowhere(world: World) -> None:
    await stand(world)
    await world.open_outside()
    world.send_packet("prt_4", "10.3.0.20", "198.51.100.7", "udp", frames.udp(4000, 53))
    world.send_packet("prt_4", "fd00:3::14", "2001:db8::7", "udp", frames.udp(4000, 53))
    assert await world.seen_at(OUTSIDE) == []


async def test_what_is_sent_to_nobody_is_refused(world: World) -> None:
    await stand(world)
    world.send_packet("prt_1", "10.1.0.17", "10.1.0.200", "udp", frames.udp(4000, 53))
    (answer,) = await world.seen_at("prt_1")
    assert (answer.source, answer.protocol, struct.unpack("!BB", answer.payload[:2])) == (RED.router4, 1, (3, 1))


async def test_an_instance_may_send_from_what_it_was_given_beyond_its_own(world: World) -> None:
    ports = [port_of(1, RED, also=("10.50.0.0/16", "fd50::/64")), port_of(2, RED)]
    await world.apply(space_of([RED], ports))
    await world.clear()
    world.send_packet("prt_1", "10.50.3.4", "10.1.0.18", "udp", frames.udp(1, 2))
    world.send_packet("prt_1", "fd50::9", "fd00:1::12", "udp", frames.udp(1, 2))
    assert [packet.source for packet in await world.seen_at("prt_2")] == ["10.50.3.4", "fd50::9"]
    world.send_packet("prt_2", "10.1.0.18", "10.50.9.9", "udp", frames.udp(3, 4))
    assert [packet.destination for packet in await world.seen_at("prt_1")] == ["10.50.9.9"]
    world.send_packet("prt_2", "10.50.3.4", "10.1.0.17", "udp", frames.udp(1, 2))
    assert await world.seen_at("prt_1") == []

"""Ways out and in: forwards, public addresses, metadata, and the host that is none of a guest's business."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from insula.base.errors import Conflict
from insula.domain.instance import PortForward
from insula.domain.network import Forward, Network, PublicAddress, Space
from insula.node.network import keeper as keeper_module
from insula.node.network.netlink import Netlink
from insula.protocol.network import Way
from tests.network import frames
from tests.network.world import OUTSIDE, World, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_PORTS = (port_of(1, _RED), port_of(2, _RED))
_SPACE = space_of([_RED], _PORTS)


def _free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _forwarded(number: int, port_id: str) -> Space:
    return replace(_SPACE, forwards=(Forward(port_id, PortForward(22, number, "127.0.0.1")),))


async def _until(world: World, name: str, wanted: Callable[[frames.Seen], bool]) -> frames.Seen:
    async with asyncio.timeout(5):
        while True:
            for packet in await world.seen_at(name):
                if packet.protocol == frames.TCP and wanted(packet):
                    return packet


def _numbers(packet: frames.Seen) -> tuple[int, int]:
    return int.from_bytes(packet.payload[4:8], "big"), int.from_bytes(packet.payload[8:12], "big")


async def _talk(world: World, name: str, number: int) -> None:
    """A connection to the forwarded port, with a word in each direction, answered by the guest of this port."""
    own, loop = world.port(name).ipv4, asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", number), timeout=5) as client:
        client.setblocking(False)
        opening = await _until(world, name, lambda packet: packet.payload[13] == frames.SYN)
        assert opening.port == 22
        theirs = _numbers(opening)[0] + 1
        answer = frames.tcp(22, opening.mark, frames.SYN_ACK, 7000, theirs)
        world.send_packet(name, own, opening.source, "tcp", answer)
        client.send(b"hello")
        word = await _until(world, name, lambda packet: packet.payload.endswith(b"hello"))
        reply = frames.tcp(22, opening.mark, frames.ACK | 8, 7001, _numbers(word)[0] + 5) + b"answer"
        world.send_packet(name, own, opening.source, "tcp", reply)
        async with asyncio.timeout(5):
            assert await loop.sock_recv(client, 100) == b"answer"


async def test_a_forward_is_opened_changed_and_closed_while_everything_goes_on(world: World) -> None:
    number = _free_port(socket.SOCK_STREAM)
    for name in ("prt_1", "prt_2"):
        await world.apply(_forwarded(number, name), Way.USER)
        await _talk(world, name, number)
    await world.apply(_SPACE, Way.USER)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), timeout=5).close()


async def test_a_forward_may_lead_to_another_port_of_the_guest(world: World) -> None:
    number = _free_port(socket.SOCK_STREAM)
    await world.apply(_forwarded(number, "prt_1"), Way.USER)
    other = Forward("prt_1", PortForward(2200, number, "127.0.0.1"))
    await world.apply(replace(_SPACE, forwards=(other,)), Way.USER)
    await world.clear()
    with socket.create_connection(("127.0.0.1", number), timeout=5):
        opening = await _until(world, "prt_1", lambda packet: packet.payload[13] == frames.SYN)
        assert opening.port == 2200


async def test_a_taken_port_is_told_and_changes_nothing(world: World) -> None:
    await world.apply(_SPACE, Way.USER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        space = _forwarded(taken.getsockname()[1], "prt_1")
        with pytest.raises(Conflict) as caught:
            await world.apply(space, Way.USER)
    assert caught.value.code == "port-in-use"
    order = await world.keeper.load()
    assert order is not None
    assert order.space == _SPACE


async def test_a_guest_reaches_others_through_the_host_and_never_the_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Netlink()) as kernel:
        mine = [text.partition("/")[0] for _, text in kernel.addresses()]
    own = next((a for a in mine if ip_address(a).version == 4 and not ip_address(a).is_loopback), None)
    if own is None:
        pytest.skip("the host has no address beside its loopback")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind((own, 0))
        service.setblocking(False)
        gate = service.getsockname()[1]
        await world.apply(_SPACE, Way.USER)
        for target in (own, "127.0.0.1", "100.126.0.2"):
            world.send_packet("prt_1", "10.1.0.17", target, "udp", frames.udp(4000, gate))
        await asyncio.sleep(0.5)
        with pytest.raises(BlockingIOError):
            service.recv(100)
        # As if it were another machine's: the packet goes all the way, and so does the answer.
        monkeypatch.setattr(keeper_module, "_host_addresses", lambda: ["127.0.0.1"])
        await world.apply(replace(_SPACE, joined=()), Way.USER)
        await world.clear()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            world.send_packet("prt_1", "10.1.0.17", own, "udp", frames.udp(4001, gate, b"question"))
            data, sender = await loop.sock_recvfrom(service, 100)
            assert data == b"question"
            service.sendto(b"answer", sender)
            while not any(packet.payload[8:] == b"answer" for packet in await world.seen_at("prt_1")):
                pass


async def test_a_public_address_stands_for_an_instance_and_moves_at_once(world: World) -> None:
    await world.apply(_SPACE)
    await world.open_outside()
    for address, port_id in (("203.0.113.5", "prt_1"), ("203.0.113.5", "prt_2"), ("2001:db8::5", "prt_2")):
        await world.apply(replace(_SPACE, addresses=(PublicAddress(address, port_id),)))
        await world.clear()
        outside = "2001:db8:1::9" if ":" in address else "198.51.100.9"
        port = world.port(port_id)
        own = port.ipv6 if ":" in address else port.ipv4
        world.send_packet(OUTSIDE, outside, address, "tcp", frames.tcp(4000 + port.number, 22))
        assert [packet.destination for packet in await world.seen_at(port_id)] == [own]
        world.send_packet(port_id, own, outside, "udp", frames.udp(5000 + port.number, 53))
        assert [packet.source for packet in await world.seen_at(OUTSIDE)] == [address]
    await world.apply(_SPACE)
    await world.clear()
    world.send_packet(OUTSIDE, "198.51.100.9", "203.0.113.5", "tcp", frames.tcp(4100, 22))
    assert await world.seen_at("prt_1") == []


async def test_metadata_knows_who_asks(world: World) -> None:
    await world.apply(_SPACE)
    await world.clear()
    with socket.socket(fileno=await world.keeper.open_metadata()) as listener:
        listener.setblocking(False)
        for name in ("prt_1", "prt_2"):
            own = world.port(name).ipv4
            world.send_packet(name, own, "169.254.169.254", "tcp", frames.tcp(4000, 80))
            (answer,) = await world.seen_at(name)
            assert answer.payload[13] == frames.SYN_ACK
            theirs = int.from_bytes(answer.payload[4:8], "big")
            acknowledgement = frames.tcp(4000, 80, frames.ACK, 1001, theirs + 1)
            world.send_packet(name, own, "169.254.169.254", "tcp", acknowledgement)
            async with asyncio.timeout(2):
                connection, peer = await asyncio.get_running_loop().sock_accept(listener)
            connection.close()
            assert peer[0] == own
        # In a neighbour's name nobody gets in.
        world.send_packet("prt_1", world.port("prt_2").ipv4, "169.254.169.254", "tcp", frames.tcp(4001, 80))
        assert [packet for packet in await world.seen_at("prt_2") if packet.port == 4001] == []


async def test_metadata_knows_who_asks_without_an_address(world: World) -> None:
    """As one of cloud-init's sources does, from an address of its own choosing that a neighbour has as well."""
    await world.apply(_SPACE)
    await world.clear()
    chosen = "169.254.7.9"
    with socket.socket(fileno=await world.keeper.open_metadata()) as listener:
        listener.setblocking(False)
        for name, mark in (("prt_1", 4000), ("prt_2", 4000), ("prt_1", 4001)):
            world.send(name, frames.arp(world.port(name).mac, chosen, "169.254.169.254"))
            world.send_packet(name, chosen, "169.254.169.254", "tcp", frames.tcp(mark, 80))
            (answer,) = [packet for packet in await world.seen_at(name) if packet.port == mark]
            assert (answer.destination, answer.payload[13]) == (chosen, frames.SYN_ACK)
            theirs = int.from_bytes(answer.payload[4:8], "big")
            acknowledgement = frames.tcp(mark, 80, frames.ACK, 1001, theirs + 1)
            world.send_packet(name, chosen, "169.254.169.254", "tcp", acknowledgement)
            async with asyncio.timeout(2):
                connection, peer = await asyncio.get_running_loop().sock_accept(listener)
            with connection:
                assert peer[0] == world.port(name).ipv4
                await asyncio.get_running_loop().sock_sendall(connection, b"who you are")
                told = [packet for packet in await world.seen_at(name) if packet.payload.endswith(b"who you are")]
                assert {packet.destination for packet in told} == {chosen}, "once, or again for want of an answer"
        # Once it has its address it is answered there.
        own = world.port("prt_1").ipv4
        world.send_packet("prt_1", own, "169.254.169.254", "tcp", frames.tcp(4002, 80))
        assert [packet.destination for packet in await world.seen_at("prt_1") if packet.port == 4002] == [own]


async def test_an_address_of_ones_own_choosing_leads_to_metadata_only(world: World) -> None:
    await world.apply(_SPACE)
    await world.open_outside()
    await world.clear()
    chosen = "169.254.7.9"
    for name, destination, port in (
        ("prt_1", world.port("prt_2").ipv4, 80),
        ("prt_1", "198.51.100.9", 80),
        ("prt_1", "169.254.169.254", 22),
        ("prt_1", "10.1.0.1", 53),
    ):
        world.send_packet(name, chosen, destination, "tcp", frames.tcp(4000, port))
    for name in ("prt_1", "prt_2", OUTSIDE):
        assert [packet for packet in await world.seen_at(name) if packet.protocol == frames.TCP] == []
    stranger = frames.ip("02:00:00:00:00:66", chosen, "169.254.169.254", frames.TCP, frames.tcp(4000, 80))
    world.send("prt_1", stranger)
    assert [packet for packet in await world.seen_at("prt_1") if packet.protocol == frames.TCP] == []

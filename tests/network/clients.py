"""What a guest's system asks for when it starts: an address by DHCP and DHCPv6, a router, names."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from insula.domain.port import Port
from insula.node.network.layout import ROUTER_MAC
from tests.network import frames
from tests.network.world import World

_ANSWER_S = 5.0
_AGAIN_S = 0.5
_MAGIC = b"\x63\x82\x53\x63"
_LINK_LOCAL_OF = "fe80::{:x}"


@dataclass(frozen=True)
class Lease:
    address: str
    options: dict[int, bytes] = field(default_factory=dict)

    def addresses(self, option: int) -> list[str]:
        data = self.options.get(option, b"")
        return [socket.inet_ntoa(data[start : start + 4]) for start in range(0, len(data), 4)]

    def text(self, option: int) -> str:
        return self.options.get(option, b"").decode()


async def _answer(world: World, name: str, frame: bytes, read: Callable[[bytes], object | None]) -> object:
    """Send until something comes that `read` understands."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_ANSWER_S):
        while True:
            world.send(name, frame)
            again = loop.time() + _AGAIN_S
            while loop.time() < again:
                for received in world.frames_at(name):
                    found = read(received)
                    if found is not None:
                        return found
                await asyncio.sleep(0.001)


def dhcp_frame(mac: str, kind: int, *options: tuple[int, bytes], number: int = 7) -> bytes:
    hardware = bytes.fromhex(mac.replace(":", ""))
    body = struct.pack("!BBBBIHH", 1, 1, 6, 0, number, 0, 0x8000) + bytes(16) + hardware + bytes(10 + 64 + 128) + _MAGIC
    for code, value in ((53, bytes([kind])), (55, bytes([1, 3, 6, 12, 15, 26, 119, 121])), *options):
        body += bytes([code, len(value)]) + value
    frame = frames.ip(mac, "0.0.0.0", "255.255.255.255", frames.UDP, frames.udp(68, 67, body + b"\xff"))
    return b"\xff" * 6 + frame[6:]


def read_dhcp(frame: bytes, number: int | None = None) -> Lease | None:
    """The lease in an answer; with a `number` only in an answer to the request of that number."""
    packet = frames.parse(frame)
    if packet is None or (packet.mark, packet.port) != (67, 68):
        return None
    body = packet.payload[8:]
    if number is not None and int.from_bytes(body[4:8], "big") != number:
        return None
    options, rest = {}, body[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return Lease(socket.inet_ntoa(body[16:20]), options)


async def dhcp(world: World, name: str, client_id: bytes = b"") -> Lease:
    """The four messages; the lease is that of the last."""
    mac = world.port(name).mac
    identity = [(61, client_id)] if client_id else []
    first, second = random.randrange(1 << 32), random.randrange(1 << 32)
    frame = dhcp_frame(mac, 1, *identity, number=first)
    offer = await _answer(world, name, frame, lambda received: read_dhcp(received, first))
    assert isinstance(offer, Lease)
    wish = [*identity, (50, socket.inet_aton(offer.address)), (54, offer.options[54])]
    frame = dhcp_frame(mac, 3, *wish, number=second)
    acknowledged = await _answer(world, name, frame, lambda received: read_dhcp(received, second))
    assert isinstance(acknowledged, Lease)
    assert acknowledged.options[53] == b"\x05"
    return acknowledged


def link_local(port: Port) -> str:
    return _LINK_LOCAL_OF.format(0x1000 + port.number)


def _multicast(frame: bytes) -> bytes:
    """To the group's hardware address, which ends as the group does."""
    return b"\x33\x33" + frame[50:54] + frame[6:]


def _neighbour_answer(port: Port, frame: bytes) -> bytes | None:
    """The router asks who has the client's link-local address before it answers."""
    packet = frames.parse(frame)
    if packet is None or packet.protocol != frames.ICMP6 or packet.port != 135:
        return None
    if packet.payload[8:24] != socket.inet_pton(socket.AF_INET6, link_local(port)):
        return None
    body = frames.icmp(136, 0, struct.pack("!I", 0x60000000) + packet.payload[8:24])
    body += b"\x02\x01" + bytes.fromhex(port.mac.replace(":", ""))
    answer = frames.ip(port.mac, link_local(port), packet.source, frames.ICMP6, body)
    return answer[:14] + answer[14:21] + b"\xff" + answer[22:]


async def _answer6(world: World, name: str, frame: bytes, read: Callable[[bytes], object | None]) -> object:
    port = world.port(name)

    def see(received: bytes) -> object | None:
        answer = _neighbour_answer(port, received)
        if answer is not None:
            world.send(name, answer)
        return read(received)

    return await _answer(world, name, frame, see)


async def router_advertisement(world: World, name: str) -> bytes:
    """What the router says when it is asked: the ICMPv6 body."""
    port = world.port(name)
    body = frames.icmp(133) + b"\x01\x01" + bytes.fromhex(port.mac.replace(":", ""))
    frame = _multicast(frames.ip(port.mac, link_local(port), "ff02::2", frames.ICMP6, body))
    frame = frame[:21] + b"\xff" + frame[22:]

    def read(received: bytes) -> bytes | None:
        packet = frames.parse(received)
        is_one = packet is not None and packet.protocol == frames.ICMP6 and packet.port == 134
        return packet.payload if packet is not None and is_one else None

    found = await _answer6(world, name, frame, read)
    assert isinstance(found, bytes)
    return found


async def dhcp6(world: World, name: str) -> str:
    """The address that is given when it is asked for quickly (rapid commit), or by the usual four messages."""
    port = world.port(name)
    duid = b"\x00\x04" + bytes(15) + bytes([port.number])  # says nothing of the card
    server = b""
    address = ""
    for kind in (1, 3):
        options = struct.pack("!HH", 1, len(duid)) + duid + server
        options += struct.pack("!HHIII", 3, 12, 1, 0, 0)
        body = struct.pack("!I", kind << 24 | 0xABC) + options
        frame = frames.ip(port.mac, link_local(port), "ff02::1:2", frames.UDP, frames.udp(546, 547, body))
        reply = await _answer6(world, name, _multicast(frame), _read_dhcp6)
        assert isinstance(reply, dict)
        server = struct.pack("!HH", 2, len(reply[2])) + reply[2]
        association = reply[3][12:]
        code, length = struct.unpack_from("!HH", association)
        assert code == 5, association[4 : 4 + length]
        address = socket.inet_ntop(socket.AF_INET6, association[4:20])
    return address


def _read_dhcp6(frame: bytes) -> dict[int, bytes] | None:
    packet = frames.parse(frame)
    if packet is None or packet.protocol != frames.UDP or packet.mark != 547:
        return None
    rest, options = packet.payload[12:], {}
    while len(rest) >= 4:
        code, length = struct.unpack_from("!HH", rest)
        options[code] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return options


async def resolve(world: World, name: str, question: str, server: str) -> list[str]:
    """The addresses that the name has, of the family of the server's."""
    port = world.port(name)
    version = 6 if ":" in server else 4
    source = port.ipv6 if version == 6 else port.ipv4
    labels = b"".join(bytes([len(part)]) + part.encode() for part in question.split("."))
    query = (
        struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!HH", 28 if version == 6 else 1, 1)
    )
    protocol = frames.UDP

    def read(received: bytes) -> list[str] | None:
        packet = frames.parse(received)
        if packet is None or packet.mark != 53 or packet.payload[8:10] != b"\x00\x4d":
            return None
        answer = packet.payload[8:]
        found, rest = [], answer[12 + len(labels) + 5 :]
        for _ in range(struct.unpack_from("!H", answer, 6)[0]):
            length = struct.unpack_from("!H", rest, 10)[0]
            family = socket.AF_INET6 if length == 16 else socket.AF_INET
            found.append(socket.inet_ntop(family, rest[12 : 12 + length]))
            rest = rest[12 + length :]
        return found

    found = await _answer(world, name, frames.ip(port.mac, source, server, protocol, frames.udp(5300, 53, query)), read)
    assert isinstance(found, list)
    return found


ROUTER = bytes.fromhex(ROUTER_MAC.replace(":", ""))

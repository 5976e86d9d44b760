"""Ethernet frames as a guest's network card would send them, and what others receive."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from insula.node.network.layout import ROUTER_MAC

BROADCAST = "ff:ff:ff:ff:ff:ff"
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10


@dataclass(frozen=True)
class Seen:
    """A received IP packet. `mark` tells packets apart: the source port, or an echo's identifier."""

    source: str
    destination: str
    protocol: int
    mark: int
    port: int
    payload: bytes


def ethernet(source: str, payload: bytes, kind: int, destination: str = ROUTER_MAC) -> bytes:
    return _mac(destination) + _mac(source) + struct.pack("!H", kind) + payload


def ip(mac: str, source: str, destination: str, protocol: int, body: bytes) -> bytes:
    """An IP packet to the router; `body` is the transport's, whose checksum is filled in here."""
    body = _summed(source, destination, protocol, body)
    if ":" in source:
        header = struct.pack("!IHBB", 0x60000000, len(body), protocol, 64)
        header += socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
        return ethernet(mac, header + body, 0x86DD)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0)
    header += socket.inet_aton(source) + socket.inet_aton(destination)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return ethernet(mac, header + body, 0x0800)


def udp(from_port: int, to_port: int, data: bytes = b"hello") -> bytes:
    return struct.pack("!HHHH", from_port, to_port, 8 + len(data), 0) + data


def tcp(from_port: int, to_port: int, flags: int = SYN, sequence: int = 1000, acknowledged: int = 0) -> bytes:
    return struct.pack("!HHIIBBHHH", from_port, to_port, sequence, acknowledged, 0x50, flags, 64000, 0, 0)


def echo(source: str, identifier: int, *, answer: bool = False) -> bytes:
    kind = (129 if answer else 128) if ":" in source else (0 if answer else 8)
    return struct.pack("!BBHHH", kind, 0, 0, identifier, 1) + b"hello"


def icmp(kind: int, code: int = 0, rest: bytes = bytes(4)) -> bytes:
    return struct.pack("!BBH", kind, code, 0) + rest


def arp(mac: str, address: str, target: str, *, operation: int = 1, to: str = BROADCAST) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + _mac(mac) + socket.inet_aton(address)
    return ethernet(
        mac, body + _mac(to if operation == 2 else "00:00:00:00:00:00") + socket.inet_aton(target), 0x0806, to
    )


def protocol_of(source: str, name: str) -> int:
    return {"tcp": TCP, "udp": UDP, "icmp": ICMP6 if ":" in source else ICMP}[name]


def parse(frame: bytes) -> Seen | None:
    """None for what is no IP packet."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    packet = frame[14:]
    if kind == 0x0800:
        length = (packet[0] & 15) * 4
        addresses = [str(ipaddress.IPv4Address(packet[start : start + 4])) for start in (12, 16)]
        protocol = packet[9]
    elif kind == 0x86DD:
        length = 40
        addresses = [str(ipaddress.IPv6Address(packet[start : start + 16])) for start in (8, 24)]
        protocol = packet[6]
    else:
        return None
    body = packet[length:]
    mark, port = struct.unpack_from("!HH", body) if len(body) >= 4 else (0, 0)
    if protocol in {ICMP, ICMP6}:
        mark, port = struct.unpack_from("!H", body, 4)[0] if len(body) >= 6 else 0, body[0]
    return Seen(addresses[0], addresses[1], protocol, mark, port, body)


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _summed(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    place = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}.get(protocol)
    if place is None or len(body) < place + 2:
        return body
    pseudo = b""
    if protocol != ICMP:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
        pseudo += struct.pack("!IHBB", len(body), 0, 0, protocol)
    total = checksum(pseudo + body) or 0xFFFF
    return body[:place] + struct.pack("!H", total) + body[place + 2 :]


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))

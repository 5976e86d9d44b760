"""Tells a network segment that an address is reached here from now on, for a program that must start quickly.

Whoever remembers the address forgets who had it before: ARP announcements (RFC 5227, 2.3) and unsolicited neighbour
advertisements (RFC 4861, 7.2.6). Standard library only.
"""

from __future__ import annotations

import socket
import struct

_ETHERNET_MULTICAST, _IPV6_MULTICAST = bytes.fromhex("333300000001"), "ff02::1"
_BROADCAST = b"\xff" * 6
_ARP, _IPV6 = 0x0806, 0x86DD
_REQUEST, _REPLY = 1, 2
_ICMPV6, _ADVERTISEMENT, _MOST_HOPS = 58, 136, 255
_ROUTER_AND_OVERRIDE = 0xA0000000


def announce(device: str, address: str) -> None:
    """Send it once from the device, in the name of its own hardware address. Needs root; raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        sending.bind((device, 0))
        mac = sending.getsockname()[4]
        for frame in frames(mac, address):
            sending.send(frame)


def frames(mac: bytes, address: str) -> list[bytes]:
    """What has to be sent. Some systems heed only ARP requests, others only replies."""
    if ":" in address:
        return [_ETHERNET_MULTICAST + mac + struct.pack(">H", _IPV6) + _neighbour_advertisement(mac, address)]
    packed = socket.inet_pton(socket.AF_INET, address)
    head = _BROADCAST + mac + struct.pack(">HHHBB", _ARP, 1, 0x0800, 6, 4)
    return [
        head + struct.pack(">H", kind) + mac + packed + (_BROADCAST if kind == _REPLY else bytes(6)) + packed
        for kind in (_REQUEST, _REPLY)
    ]


def _neighbour_advertisement(mac: bytes, address: str) -> bytes:
    source, target = (socket.inet_pton(socket.AF_INET6, text) for text in (address, _IPV6_MULTICAST))
    option = struct.pack(">BB", 2, 1) + mac
    body = struct.pack(">BBHI", _ADVERTISEMENT, 0, 0, _ROUTER_AND_OVERRIDE) + source + option
    pseudo = source + target + struct.pack(">IxxxB", len(body), _ICMPV6)
    body = body[:2] + struct.pack(">H", _checksum(pseudo + body)) + body[4:]
    return struct.pack(">IHBB", 6 << 28, len(body), _ICMPV6, _MOST_HOPS) + source + target + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

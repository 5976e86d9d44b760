"""Just enough of rtnetlink for devices, addresses, routes and neighbours, for a program that must start quickly.

A library takes 35 MB and a third of a second of every space's steward; this takes what the kernel's headers say
(linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, pkt_sched.h). Standard library only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_NEWQDISC, _DELQDISC, _NEWFILTER = 36, 37, 44
_INGRESS, _INGRESS_HANDLE, _ALL_PROTOCOLS, _STOLEN, _REDIRECT_OUT = 0xFFFFFFF1, 0xFFFF0000, 3, 4, 1
_REQUEST, _ACK, _DUMP, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_QDISC = struct.Struct("=BxxxiIII")
_ATTRIBUTE = struct.Struct("=HH")
_UP = 0x1
_ADDRESS_FLAGS = 0x80 | 0x02  # permanent, no duplicate detection
_NO_ROUTE = 0x200  # for its prefix
_STATISTICS = 23  # IFLA_STATS64
_PERMANENT = 0x80
_PROXY = 0x8  # NTF_PROXY
_ORIGIN_ATTRIBUTE = 12  # NDA_PROTOCOL
_ORIGIN = 0x69  # by which we know what we put beside foreign devices
_UNICAST, _UNREACHABLE = 1, 7
_TABLE_MAIN, _BY_STATIC = 254, 4
_SCOPE_LINK, _SCOPE_UNIVERSE = 253, 0
_ONLINK = 4
_UNREACHABLE_METRIC = 65535
_BUFFER_BYTES = 1 << 18
_WATCHED = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400  # links, neighbours, addresses and routes of both versions
_NETFILTER = 12
_GET_GENERATION = (10 << 8) | 16
_TICKS_PER_US = 15.625  # PSCHED_TICKS_PER_SEC is a million in nanoseconds shifted by six


class Netlink:
    """A connection to the kernel of the network namespace that it was opened in. Blocking; every call is quick."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0
        self.number = int(self._socket.getsockname()[0])

    def close(self) -> None:
        self._socket.close()

    def index_of(self, device: str) -> int:
        """Raises OSError when there is no such device."""
        return socket.if_nametoindex(device)

    def add_link(self, kind: str, device: str) -> None:
        """`kind` is a kind of the kernel's: bridge, ifb."""
        info = _nested(18, _text(1, kind))
        self._change(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, 0, 0) + _text(3, device) + info)

    def add_pair(self, device: str, other: str, process: int) -> None:
        """Two devices that lead to each other, of which the other one is in the process's namespace."""
        peer = _LINK.pack(0, 0, 0, 0, 0) + _text(3, other) + _attribute(19, struct.pack("=I", process))
        info = _nested(18, _text(1, "veth") + _nested(2, _nested(1, peer)))
        self._change(_NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, 0, 0) + _text(3, device) + info)

    def set_link(self, device: str, mac: str, mtu: int) -> None:
        """Give it its MAC address (empty: leave it) and MTU, no link-local address of its own, and set it up."""
        family = _nested(26, _nested(socket.AF_INET6, _attribute(8, b"\1")))
        body = _LINK.pack(0, 0, self.index_of(device), _UP, _UP)
        body += (_attribute(1, _mac(mac)) if mac else b"") + _attribute(4, struct.pack("=I", mtu)) + family
        self._change(_NEWLINK, 0, body)

    def delete_link(self, device: str) -> None:
        self._change(_DELLINK, 0, _LINK.pack(0, 0, self.index_of(device), 0, 0))

    def address(self, device: str, prefix: str) -> None:
        """`prefix` is the address with its length; replaces an equal one."""
        self._change(_NEWADDR, _CREATE | _REPLACE, self._address(device, prefix))

    def remove_address(self, device: str, prefix: str) -> None:
        self._change(_DELADDR, 0, self._address(device, prefix))

    def _address(self, device: str, prefix: str) -> bytes:
        text, _, length = prefix.partition("/")
        family, packed = _packed(text)
        # Everybody on the device is reached by a link-local address, and nobody by the network's prefix.
        flags = _ADDRESS_FLAGS if text.startswith("fe80:") else _ADDRESS_FLAGS | _NO_ROUTE
        body = _ADDRESS.pack(family, int(length), flags & 0xFF, 0, self.index_of(device))
        return body + _attribute(2, packed) + _attribute(1, packed) + _attribute(8, struct.pack("=I", flags))

    def route(self, prefix: str, device: str, via: str = "", source: str = "") -> None:
        """Replaces one for the same prefix. Without a device nobody is there: what is sent there is refused.

        `source` is the address that the router itself speaks from.
        """
        speaks = _attribute(7, _packed(source)[1]) if source else b""
        self._change(_NEWROUTE, _CREATE | _REPLACE, self._route(prefix, device, via) + speaks)

    def remove_route(self, prefix: str, device: str, via: str = "", source: str = "") -> None:
        """`source` does not tell routes apart."""
        self._change(_DELROUTE, 0, self._route(prefix, device, via))

    def _route(self, prefix: str, device: str, via: str) -> bytes:
        text, _, length = prefix.partition("/")
        family, packed = _packed(text)
        kind = _UNICAST if device else _UNREACHABLE
        scope = _SCOPE_LINK if device and not via and family == socket.AF_INET else _SCOPE_UNIVERSE
        flags = _ONLINK if via else 0
        body = _ROUTE.pack(family, int(length), 0, 0, _TABLE_MAIN, _BY_STATIC, scope, kind, flags)
        body += _attribute(1, packed) if int(length) else b""
        if device:
            body += _attribute(4, struct.pack("=i", self.index_of(device)))
        else:
            body += _attribute(6, struct.pack("=I", _UNREACHABLE_METRIC))
        return body + (_attribute(5, _packed(via)[1]) if via else b"")

    def neighbour(self, device: str, address: str, mac: str) -> None:
        """Who has the address is known for good and never asked."""
        body = self._neighbour(device, address) + _attribute(2, _mac(mac))
        self._change(_NEWNEIGH, _CREATE | _REPLACE, body)

    def remove_neighbour(self, device: str, address: str, mac: str = "") -> None:
        self._change(_DELNEIGH, 0, self._neighbour(device, address))

    def proxy(self, device: str, address: str) -> None:
        """Whoever asks at the device for the address is told that it is reached through here."""
        body = self._neighbour(device, address, _PROXY) + _attribute(_ORIGIN_ATTRIBUTE, bytes([_ORIGIN]))
        self._change(_NEWNEIGH, _CREATE | _REPLACE, body)

    def remove_proxy(self, device: str, address: str) -> None:
        self._change(_DELNEIGH, 0, self._neighbour(device, address, _PROXY))

    def _neighbour(self, device: str, address: str, flags: int = 0) -> bytes:
        family, packed = _packed(address)
        return _NEIGHBOUR.pack(family, self.index_of(device), _PERMANENT, flags, 0) + _attribute(1, packed)

    def limit(self, device: str, megabits_per_second: int) -> None:
        """What leaves through the device is limited by a token bucket; 0 takes the limit away."""
        body = _QDISC.pack(0, self.index_of(device), 0, 0xFFFFFFFF, 0)
        if megabits_per_second:
            options = _token_bucket(megabits_per_second * 125_000)
            self._change(_NEWQDISC, _CREATE | _REPLACE, body + _text(1, "tbf") + _nested(2, options))
            return
        try:
            self._change(_DELQDISC, 0, body)
        except FileNotFoundError:
            return  # there was none

    def redirect(self, device: str, through: str) -> None:
        """What comes in at the device passes through another one first, where it waits as if it left there."""
        self.remove_redirect(device)
        arriving = _QDISC.pack(0, self.index_of(device), _INGRESS_HANDLE, _INGRESS, 0) + _text(1, "ingress")
        self._change(_NEWQDISC, _CREATE | _EXCL, arriving)
        body = _QDISC.pack(0, self.index_of(device), 0, _INGRESS_HANDLE, 1 << 16 | socket.htons(_ALL_PROTOCOLS))
        mirror = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _REDIRECT_OUT, self.index_of(through))
        action = _nested(1, _text(1, "mirred") + _nested(2, _attribute(2, mirror)))
        everything = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
        options = _attribute(5, everything) + _nested(7, action)
        self._change(_NEWFILTER, _CREATE | _EXCL, body + _text(1, "u32") + _nested(2, options))

    def remove_redirect(self, device: str, through: str = "") -> None:
        try:
            self._change(_DELQDISC, 0, _QDISC.pack(0, self.index_of(device), _INGRESS_HANDLE, _INGRESS, 0))
        except FileNotFoundError:
            return  # there was none
        except OSError as trouble:
            if trouble.errno != errno.EINVAL:
                raise

    def links(self) -> dict[str, tuple[str, int, bool]]:
        """MAC address, MTU and whether it is up, by the device's name."""
        found = {}
        for body in self._dump(_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            attributes = _attributes(body[_LINK.size :])
            mac = ":".join(f"{byte:02x}" for byte in attributes.get(1, b""))
            up = bool(_LINK.unpack_from(body)[3] & _UP)
            found[_name(attributes[3])] = (mac, struct.unpack("=I", attributes[4])[0], up)
        return found

    def traffic(self) -> dict[str, tuple[int, int, int, int]]:
        """What came in at each device and what left there, packets and bytes each, since it was made."""
        found = {}
        for body in self._dump(_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            attributes = _attributes(body[_LINK.size :])
            came, left, came_bytes, left_bytes = struct.unpack_from("=QQQQ", attributes[_STATISTICS])
            found[_name(attributes[3])] = (came, came_bytes, left, left_bytes)
        return found

    def addresses(self) -> list[tuple[str, str]]:
        """Device and address with its length, of those that were set by somebody."""
        names = self._names()
        found = []
        for body in self._dump(_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, length, _, _, index = _ADDRESS.unpack_from(body)
            attributes = _attributes(body[_ADDRESS.size :])
            packed = attributes.get(2, attributes.get(1, b""))
            if index in names:
                found.append((names[index], f"{socket.inet_ntop(family, packed)}/{length}"))
        return found

    def routes(self) -> list[tuple[str, str, str, str]]:
        """Prefix, device, gateway and source of static routes; the device is empty where nobody is."""
        names = self._names()
        found = []
        for body in self._dump(_GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            family, length, _, _, table, origin, _, kind, _ = _ROUTE.unpack_from(body)
            if family not in {socket.AF_INET, socket.AF_INET6} or (table, origin) != (_TABLE_MAIN, _BY_STATIC):
                continue
            attributes = _attributes(body[_ROUTE.size :])
            zero = bytes(4 if family == socket.AF_INET else 16)
            via = socket.inet_ntop(family, attributes[5]) if 5 in attributes else ""
            index = struct.unpack("=i", attributes[4])[0] if kind == _UNICAST and 4 in attributes else 0
            source = socket.inet_ntop(family, attributes[7]) if 7 in attributes else ""
            prefix = f"{socket.inet_ntop(family, attributes.get(1, zero))}/{length}"
            found.append((prefix, names.get(index, ""), via, source))
        return found

    def neighbours(self) -> list[tuple[str, str, str]]:
        """Device, address and MAC address of those that are known for good."""
        names = self._names()
        found = []
        for body in self._dump(_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0)):
            family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
            if state & _PERMANENT and family in {socket.AF_INET, socket.AF_INET6} and index in names:
                attributes = _attributes(body[_NEIGHBOUR.size :])
                mac = ":".join(f"{byte:02x}" for byte in attributes.get(2, b""))
                found.append((names[index], socket.inet_ntop(family, attributes[1]), mac))
        return found

    def proxies(self) -> list[tuple[str, str]]:
        """Device and address of what :meth:`proxy` made, whoever ran it."""
        names = self._names()
        found = []
        for body in self._dump(_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, _PROXY, 0)):
            family, index, _, flags, _ = _NEIGHBOUR.unpack_from(body)
            attributes = _attributes(body[_NEIGHBOUR.size :])
            if flags & _PROXY and index in names and attributes.get(_ORIGIN_ATTRIBUTE) == bytes([_ORIGIN]):
                found.append((names[index], socket.inet_ntop(family, attributes[1])))
        return found

    def _names(self) -> dict[int, str]:
        return dict(socket.if_nameindex())

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)

    def _change(self, kind: int, flags: int, body: bytes) -> None:
        self._send(kind, flags | _ACK, body)
        for _ in self._answers():
            pass

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        self._send(kind, _DUMP, body)
        return list(self._answers())

    def _answers(self) -> Iterator[bytes]:
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            while data:
                length, kind, _, sequence, _ = _HEADER.unpack_from(data)
                body, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if sequence != self._sequence:
                    continue
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                if kind == _DONE:
                    return
                yield body


class Watch:
    """Notices what others than `ours` change about devices, addresses, routes and neighbours."""

    def __init__(self, ours: Netlink) -> None:
        self._ours = ours.number
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _WATCHED))
        self._socket.setblocking(False)

    def is_disturbed(self) -> bool:
        """Whether anything was changed since the last time that this was asked."""
        disturbed = False
        while True:
            try:
                data = self._socket.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return disturbed
            except OSError:  # more than the kernel keeps for us
                disturbed = True
                continue
            while data:
                length, _, _, _, who = _HEADER.unpack_from(data)
                disturbed = disturbed or who != self._ours
                data = data[(length + 3) & ~3 :]


def rules_generation() -> int:
    """How often the packet filter of this namespace was changed (NFT_MSG_GETGEN)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as asking:
        asking.bind((0, 0))
        asking.send(_HEADER.pack(_HEADER.size + 4, _GET_GENERATION, _REQUEST, 1, 0) + bytes(4))
        answer = asking.recv(_BUFFER_BYTES)
    number: int = struct.unpack(">I", _attributes(answer[_HEADER.size + 4 :])[1])[0]
    return number


def _token_bucket(rate: int) -> bytes:
    """`struct tc_tbf_qopt` for bytes a second: a burst of a hundredth of a second, and 50 ms of waiting."""
    burst = max(128 * 1024, rate // 100)
    rate_spec = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, min(rate, 0xFFFFFFFF))
    ticks = min(int(burst * 1_000_000 / rate * _TICKS_PER_US), 0xFFFFFFFF)
    queue = burst + rate // 20
    options = _attribute(1, rate_spec + bytes(12) + struct.pack("=III", queue, ticks, 0))
    return options + _attribute(4, struct.pack("=Q", rate)) + _attribute(6, struct.pack("=I", burst))


def _packed(text: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return family, socket.inet_pton(family, text)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _name(value: bytes) -> str:
    return value.rstrip(b"\0").decode()


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found

"""Frames of all sizes, in whatever pieces they come."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from insula.client.websocket import WebSocket


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(5)
    near.settimeout(5)
    with far:
        console = WebSocket(near)
        yield console, far
        console.close()


def frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return struct.pack("!BB", 0x80 | opcode, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, len(payload)) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, len(payload)) + payload


def received(far: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += far.recv(size - len(data))
    return data


@pytest.mark.parametrize("size", [1, 125, 126, 4000, 65535, 65536])
def test_reading(ends: tuple[WebSocket, socket.socket], size: int) -> None:
    console, far = ends
    payload = bytes(range(256)) * (size // 256 + 1)
    far.sendall(frame(2, payload[:size]))
    assert console.read() == payload[:size]


@pytest.mark.parametrize(("size", "head"), [(1, 2), (126, 4), (65536, 10)])
def test_writing_is_masked(ends: tuple[WebSocket, socket.socket], size: int, head: int) -> None:
    console, far = ends
    console.write(b"\x00" * size)
    sent = received(far, head + 4 + size)
    mask, masked = sent[head : head + 4], sent[head + 4 :]
    assert sent[1] & 0x80
    assert bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked)) == b"\x00" * size


def test_pieces_pings_and_the_end(ends: tuple[WebSocket, socket.socket]) -> None:
    console, far = ends
    far.sendall(frame(9, b"?") + frame(2, b"one")[:3])
    far.sendall(frame(2, b"one")[3:] + frame(2, b"two") + frame(8, struct.pack("!H", 1001) + b"bye"))
    assert console.read() == b"one"
    assert received(far, 7)[0] == 0x8A
    assert console.pending
    assert console.read() == b"two"
    assert console.read() == b""
    assert console.close_reason == "bye"
    assert console.read() == b""

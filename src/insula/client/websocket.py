"""A small WebSocket client (RFC 6455): enough to attach to a console, without a dependency."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import secrets
import socket
import struct
from types import TracebackType

from insula.base.errors import Unavailable
from insula.client.connection import Connection, error_of

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_CLOSE_NORMAL = 1000


class WebSocket:
    """A two-way byte stream. `fileno()` may be given to `select`; read until `pending` is empty after it fires."""

    def __init__(self, channel: socket.socket, rest: bytes = b"") -> None:
        self._channel = channel
        self._buffer = bytearray(rest)
        self._closed = False
        self.close_reason = ""  # what the service said when it ended the stream

    @classmethod
    def connect(cls, connection: Connection, path: str) -> WebSocket:
        """Open `path` of the service. Raises the error that the service names, or Unavailable."""
        link = connection.open()
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        headers = dict(connection.headers) | {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        with connection.translated():
            link.request("GET", path, headers=headers)
            channel = link.sock
            response = link.getresponse()
        if response.status != http.client.SWITCHING_PROTOCOLS:
            error = error_of(response, response.read())
            link.close()
            raise error
        wanted = base64.b64encode(hashlib.sha1((key + _MAGIC).encode(), usedforsecurity=False).digest()).decode()
        if response.getheader("Sec-WebSocket-Accept") != wanted:
            link.close()
            raise Unavailable("The service answered the console request with something else", code="unexpected-answer")
        channel.settimeout(0.0)  # what http.client has read ahead, without waiting for more
        rest = response.fp.peek()
        channel.settimeout(None)
        return cls(channel, rest)

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def pending(self) -> bool:
        """Whether a whole message waits already, so that `select` would not tell."""
        return _frame_size(self._buffer) is not None

    def read(self) -> bytes:
        """The next bytes; empty at the end. Blocks."""
        while not self._closed:
            opcode, payload = self._frame()
            if opcode in (_BINARY, _TEXT, 0) and payload:
                return payload
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                self.close_reason = payload[2:].decode("utf-8", "replace")
                self.close()
        return b""

    def write(self, data: bytes) -> None:
        self._send(_BINARY, data)

    def close(self) -> None:
        """Say good-bye and close. May be repeated."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                self._send(_CLOSE, struct.pack("!H", _CLOSE_NORMAL))
            self._channel.close()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _frame(self) -> tuple[int, bytes]:
        while (size := _frame_size(self._buffer)) is None:
            received = self._channel.recv(65536)
            if not received:
                return _CLOSE, b""
            self._buffer += received
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        return frame[0] & 0x0F, frame[_header_size(frame) :]

    def _send(self, opcode: int, payload: bytes) -> None:
        # Clients mask what they send (section 5.3), against proxies that mistake it for HTTP.
        mask = secrets.token_bytes(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        pad = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
        self._channel.sendall(head + mask + masked)


def _header_size(frame: bytes | bytearray) -> int:
    return {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)


def _frame_size(buffer: bytearray) -> int | None:
    """The length of the first frame, None while it is not whole. Servers do not mask."""
    if len(buffer) < 2 or len(buffer) < _header_size(buffer):
        return None
    short = buffer[1] & 0x7F
    if short == 126:
        length = int.from_bytes(buffer[2:4], "big")
    elif short == 127:
        length = int.from_bytes(buffer[2:10], "big")
    else:
        length = short
    size = _header_size(buffer) + length
    return size if len(buffer) >= size else None

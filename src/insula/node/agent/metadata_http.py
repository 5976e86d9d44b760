"""The HTTP that guests speak with their metadata: GET and HEAD, one request after the other, from whoever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import httptools

_MOST_BYTES = 8192  # of a request
_IDLE_S = 15.0
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}

Files = Callable[[str], Mapping[str, bytes] | None]


class MetadataHttp(asyncio.Protocol):
    """One connection. `files_of` gives the files of who asks from an address, None when nobody has it."""

    def __init__(self, files_of: Files) -> None:
        self._files_of = files_of
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._transport = transport
        self._address = str(transport.get_extra_info("peername")[0])
        self._timer = asyncio.get_running_loop().call_later(_IDLE_S, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        is_fine = self._received <= _MOST_BYTES
        if is_fine:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                is_fine = False
        if not is_fine:
            self._answer(400, b"This is no request that can be answered here\n", stays=False)

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_message_complete(self) -> None:
        path, self._path, self._received = self._path, b"", 0
        method, stays = self._parser.get_method(), self._parser.should_keep_alive()
        if method not in {b"GET", b"HEAD"}:
            self._answer(405, b"Metadata can be read only\n", stays=stays)
            return
        status, body = self._found(path)
        self._answer(status, body, stays=stays, is_head=method == b"HEAD")

    def _found(self, path: bytes) -> tuple[int, bytes]:
        files = self._files_of(self._address)
        name = path.partition(b"?")[0].decode("utf-8", "replace")
        if files is None:
            return 404, b"There is no metadata for this address\n"
        if name == "/":
            return 200, "".join(f"{each[1:]}\n" for each in files).encode()
        if name not in files:
            return 404, b"There is no such file; / lists them\n"
        return 200, files[name]

    def _answer(self, status: int, body: bytes, *, stays: bool, is_head: bool = False) -> None:
        if self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            f"Connection: {'keep-alive' if stays else 'close'}",
        ]
        head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
        self._transport.write(head if is_head else head + body)
        if not stays:
            self._transport.close()

"""The HTTP that guests speak with their metadata: one request after the other, from whoever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from insula.node.agent.metadata_shapes.ask import Answer, Ask

_MOST_BYTES = 8192  # of a request
_IDLE_S = 15.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}
_METHODS = {"GET", "HEAD", "PUT"}
_NO_REQUEST = Answer(b"This is no request that can be answered here\n", 400)
_NO_METHOD = Answer(b"Metadata can be read only\n", 405)

Respond = Callable[[str, Ask], Answer]


class MetadataHttp(asyncio.Protocol):
    """One connection. `respond` gives what who asks from an address is answered."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._url = b""
        self._headers: dict[str, str] = {}

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
            self._answer(_NO_REQUEST, stays=False)

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0].decode("utf-8", "replace")
        method, headers = self._parser.get_method().decode("latin-1"), self._headers
        self._url, self._headers, self._received = b"", {}, 0
        stays = self._parser.should_keep_alive()
        if method not in _METHODS:
            self._answer(_NO_METHOD, stays=stays)
            return
        is_head = method == "HEAD"
        found = self._respond(self._address, Ask("GET" if is_head else method, path, headers))
        self._answer(found, stays=stays, is_head=is_head)

    def _answer(self, answer: Answer, *, stays: bool, is_head: bool = False) -> None:
        if self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            f"Connection: {'keep-alive' if stays else 'close'}",
        ]
        head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
        self._transport.write(head if is_head else head + answer.body)
        if not stays:
            self._transport.close()

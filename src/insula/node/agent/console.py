"""The serial console: many may watch and type at once, though the machine's socket takes one client.

The machine writes its log by itself, whether anybody watches or not. The hub connects when the first one attaches and
lets go of the socket when the last one leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path

from insula.base.errors import Conflict, HostFailure
from insula.node.agent.background import Background
from insula.node.runtime.sockets import connect

_CONNECT_S = 5.0
_READ_BYTES = 65536
_BACKLOG_CHUNKS = 256  # a reader that slow loses the oldest output


class ConsoleHub:
    """The console of one instance."""

    def __init__(self, socket: Path, name: str, background: Background) -> None:
        self._socket = socket
        self._name = name
        self._background = background
        self._attachments: set[_Attachment] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._lock = asyncio.Lock()

    async def attach(self) -> _Attachment:
        """A new two-way stream. Raises :class:`Conflict` when the console cannot be reached."""
        async with self._lock:
            if self._writer is None:
                self._writer = await self._connect()
            attachment = _Attachment(self)
            self._attachments.add(attachment)
            return attachment

    async def close(self) -> None:
        """End all attachments: the machine is gone. May be repeated."""
        async with self._lock:
            self._drop()

    async def send(self, data: bytes) -> None:
        """Type into the console."""
        writer = self._writer
        if writer is None:
            raise self._unreachable("Its machine has ended")
        try:
            writer.write(data)
            await writer.drain()
        except OSError as error:
            raise HostFailure(f"The console of {self._name} broke off", why=str(error), todo="Attach again") from error

    async def leave(self, attachment: _Attachment) -> None:
        """Take an attachment off; the last one closes the socket."""
        async with self._lock:
            self._attachments.discard(attachment)
            if not self._attachments:
                self._drop()

    async def _connect(self) -> asyncio.StreamWriter:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=await connect(self._socket, _CONNECT_S))
        except (OSError, TimeoutError) as error:
            raise self._unreachable(str(error) or f"Its socket did not accept us within {_CONNECT_S:g} s") from error
        self._background.spawn(self._pump(reader, writer), f"console of {self._name}")
        return writer

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                for attachment in self._attachments:
                    attachment.put(data)
        async with self._lock:
            if self._writer is writer:
                self._drop()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for attachment in self._attachments:
            attachment.end()
        self._attachments.clear()

    def _unreachable(self, why: str) -> Conflict:
        return Conflict(
            f"The console of {self._name} cannot be reached",
            why=why,
            todo=f"Start it: `insula start {self._name}`; what it showed last: `insula console {self._name} --log`",
            code="no-console",
        )


class _Attachment:
    """Implements protocol.node.ConsoleStream."""

    def __init__(self, hub: ConsoleHub) -> None:
        self._hub = hub
        self._chunks: deque[bytes] = deque(maxlen=_BACKLOG_CHUNKS)
        self._news = asyncio.Event()
        self._ended = False

    def put(self, data: bytes) -> None:
        self._chunks.append(data)
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def read(self) -> bytes:
        while not self._chunks and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    async def write(self, data: bytes) -> None:
        await self._hub.send(data)

    async def close(self) -> None:
        self.end()
        await self._hub.leave(self)

"""The guest agent's client: one request at a time over a Unix socket, and the guest is not trusted.

Source: QEMU Guest Agent Protocol Reference (docs/interop/qemu-ga-ref). Every connection begins with
`guest-sync-delimited`, since the first reply may answer what an earlier client asked. After a time-out, a
cancellation or nonsense the connection is dropped, so that no stale reply is ever taken for an answer. Replies are
bounded in size and time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from insula.base.errors import GuestFailure, GuestRefused, Unsupported
from insula.node.runtime.sockets import connect

_CONNECT_S = 5.0
_REPLY_BYTES = 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_LARGE_REPLY_BYTES = 256 * 1024  # from here on a reply is parsed in a thread
_SENTINEL = b"\xff"


class GuestAgent:
    """One guest's agent. Connects when first used and again after anything went wrong."""

    def __init__(self, socket: Path, name: str) -> None:
        self._socket = socket
        self.name = name
        self._lock = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._is_synchronized = False

    async def call(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 10.0,
        max_reply_bytes: int = _REPLY_BYTES,
    ) -> Any:
        """Ask the agent and return what it returned.

        Raises :class:`GuestRefused` (its own error), :class:`Unsupported` (it does not know the command) and
        :class:`GuestFailure` (no agent, no answer in time, nonsense).
        """
        request = msgspec.json.encode({"execute": command, "arguments": arguments or {}}) + b"\n"
        return await self._guarded(self._exchange(request, command, max_reply_bytes), timeout_s, command)

    async def attach(self, timeout_s: float) -> None:
        """Connect, and ask nothing yet: the guest may stand still. Raises :class:`GuestFailure` when it cannot."""
        await self._guarded(self._open(), timeout_s, "connecting")

    async def await_answer(self, timeout_s: float) -> None:
        """Return as soon as the agent answers. Raises :class:`GuestFailure` when it does not in time."""
        await self._guarded(self._connect(), timeout_s, "guest-sync-delimited")

    async def tell(self, command: str, arguments: Mapping[str, Any], *, timeout_s: float) -> None:
        """Send a command that has no reply on success (`guest-shutdown`). Raises as :meth:`call`."""
        request = msgspec.json.encode({"execute": command, "arguments": arguments}) + b"\n"
        await self._guarded(self._send(request), timeout_s, command)

    async def close(self) -> None:
        """Drop the connection; the next call makes a new one. May be repeated."""
        writer, self._reader, self._writer = self._writer, None, None
        self._is_synchronized = False
        if writer is not None:
            writer.close()

    async def _guarded(self, work: Any, timeout_s: float, command: str) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                async with self._lock:
                    try:
                        return await work
                    except (GuestRefused, Unsupported):
                        raise
                    except BaseException:
                        await self.close()
                        raise
        except TimeoutError as error:
            raise self._silent(f"It did not answer {command} within {timeout_s:g} s") from error
        except (OSError, EOFError) as error:
            raise self._silent(f"Its connection is gone ({error or type(error).__name__})") from error
        finally:
            work.close()  # when the lock was never reached, the coroutine was not begun

    def _silent(self, why: str) -> GuestFailure:
        return GuestFailure(
            f"The guest agent of {self.name} does not answer",
            why=why,
            todo=f"See what the guest is doing: `insula console {self.name} --log`",
            code="guest-silent",
        )

    async def _open(self) -> None:
        if self._writer is None:
            connection = await connect(self._socket, _CONNECT_S)
            self._reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=_CHUNK_BYTES)

    async def _connect(self) -> None:
        if self._is_synchronized:
            return
        await self._open()
        assert self._writer is not None  # noqa: S101 - opened just now
        number = secrets.randbelow(1 << 31)
        request = msgspec.json.encode({"execute": "guest-sync-delimited", "arguments": {"id": number}})
        self._writer.write(_SENTINEL + request + b"\n")
        await self._writer.drain()
        while True:
            line = await self._read_line(_REPLY_BYTES)
            # Everything before the sentinel byte answers somebody else's question.
            _, found, reply = line.rpartition(_SENTINEL)
            if found and (await _parse(reply)).get("return") == number:
                self._is_synchronized = True
                return

    async def _send(self, request: bytes) -> None:
        await self._connect()
        assert self._writer is not None  # noqa: S101 - connected just now
        self._writer.write(request)
        await self._writer.drain()

    async def _exchange(self, request: bytes, command: str, max_reply_bytes: int) -> Any:
        await self._send(request)
        reply = await _parse(await self._read_line(max_reply_bytes))
        if "return" in reply:
            return reply["return"]
        error = reply.get("error")
        if not isinstance(error, dict):
            raise self._nonsense("A reply has neither a result nor an error")
        kind, description = str(error.get("class", ""))[:200], str(error.get("desc", ""))[:2000]
        if kind in {"CommandNotFound", "CommandDisabled"}:
            raise Unsupported(
                f"The guest agent of {self.name} does not offer {command}",
                why=description,
                todo="Install a newer qemu-guest-agent in the guest, or allow the command in its configuration",
                code="guest-command-missing",
            )
        raise GuestRefused(f"The guest agent of {self.name} refused {command}", why=description)

    async def _read_line(self, max_bytes: int) -> bytes:
        assert self._reader is not None  # noqa: S101 - connected just now
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                part = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                part = await self._reader.read(max(1, error.consumed))
            except asyncio.IncompleteReadError as error:
                raise EOFError("it was closed in the middle of a reply") from error
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise self._nonsense(f"A reply is longer than {max_bytes} bytes")
            if part.endswith(b"\n"):
                return b"".join(parts)

    def _nonsense(self, why: str) -> GuestFailure:
        return GuestFailure(
            f"The guest agent of {self.name} answers nonsense",
            why=why,
            todo="The system inside may be broken or hostile; look at it over SSH or its console, or rebuild it",
            code="guest-nonsense",
        )


async def _parse(line: bytes) -> dict[str, Any]:
    """A reply as a dictionary; an unreadable one becomes an empty one, which no caller takes for an answer."""
    decode = msgspec.json.decode
    try:
        reply = await asyncio.to_thread(decode, line) if len(line) > _LARGE_REPLY_BYTES else decode(line)
    except (ValueError, RecursionError):  # deep nesting is a guest's cheapest attack on a parser
        return {}
    return reply if isinstance(reply, dict) else {}

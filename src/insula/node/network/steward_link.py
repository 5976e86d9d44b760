"""The service's end of a space's steward: starts it, asks it, lets go of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from insula.base.errors import HostFailure
from insula.base.run import detach
from insula.node.network.record import ProcessEntry

MARKER = "INSULA_SPACE"  # in the environment of every process of a space: its folder

_START_S = 20.0
_ASK_S = 30.0
_MOST_DESCRIPTORS = 4
# Imported, not run as a script: then its compiled form is used.
_IMPORT_AND_RUN = "import sys; sys.path.append(sys.argv[1]); import steward; steward.run(sys.argv[2:])"


def program(*words: str) -> list[str]:
    """The command line of the steward's program."""
    return [sys.executable, "-I", "-S", "-c", _IMPORT_AND_RUN, str(Path(__file__).parent), *words]


class StewardLink:
    """A steward that runs. It asks one thing after the other; a failure of the kernel's is raised as HostFailure."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._is_open = True

    @classmethod
    async def create(cls, folder: Path, uid: int | None) -> tuple[StewardLink, ProcessEntry]:
        """New namespaces, and the steward in them. The holder waits until :meth:`keep`, and ends without it."""
        link = cls(await _start(folder, uid, "create", str(folder)))
        try:
            told, _ = await link._receive(_START_S)
        except BaseException:
            link.close()
            raise
        return link, ProcessEntry("holder", int(told["holder"]), int(told["start_ticks"]))

    @classmethod
    async def enter(cls, folder: Path, uid: int | None, holder: int) -> StewardLink:
        """A steward in the namespaces that the holder keeps."""
        link = cls(await _start(folder, uid, "enter", str(holder)))
        try:
            await link._receive(_START_S)
        except BaseException:
            link.close()
            raise
        return link

    @classmethod
    async def stay(cls, folder: Path) -> StewardLink:
        """A steward where we are, on the host itself; its log is in `folder`."""
        link = cls(await _start(folder, None, "stay"))
        try:
            await link._receive(_START_S)
        except BaseException:
            link.close()
            raise
        return link

    async def keep(self) -> None:
        """The holder has been recorded, and may stay."""
        await asyncio.to_thread(self._connection.sendall, b"1")

    @property
    def is_open(self) -> bool:
        """Whether it can be asked; after an answer that did not come in time it cannot."""
        return self._is_open

    async def ask(self, verb: str, **words: Any) -> dict[str, Any]:
        """The answer to one request. Raises HostFailure, with the system's error number in `fields`."""
        answer, descriptors = await self._ask({"verb": verb, **words})
        for descriptor in descriptors:
            os.close(descriptor)
        return answer

    async def ask_for_descriptor(self, verb: str, **words: Any) -> int:
        """The same for a request that opens something; the caller closes it."""
        _, descriptors = await self._ask({"verb": verb, **words})
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def close(self) -> None:
        """Let go of it: the steward ends, and what it made stays. May be repeated."""
        self._is_open = False
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    async def _ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[int]]:
        body = msgspec.json.encode(request)
        async with self._lock:
            try:
                await asyncio.to_thread(self._send, body)
                return await self._receive(_ASK_S)
            except asyncio.CancelledError:
                self.close()  # its answer would be taken for that to the next request
                raise

    def _send(self, body: bytes) -> None:
        self._connection.settimeout(_ASK_S)
        try:
            self._connection.sendall(b"%d\n" % len(body) + body)
        except OSError as error:
            self.close()
            raise _gone(str(error)) from error

    async def _receive(self, timeout_s: float) -> tuple[dict[str, Any], Sequence[int]]:
        answer, descriptors = await asyncio.to_thread(self._receive_blocking, timeout_s)
        if "error" in answer:
            raise HostFailure(
                "The host refused a change of a network",
                why=str(answer["error"]).strip(),
                todo="Look at the host with `insula doctor`",
                code="network-failed",
                fields={"errno": str(answer.get("errno", 0))},
            )
        return answer, descriptors

    def _receive_blocking(self, timeout_s: float) -> tuple[dict[str, Any], Sequence[int]]:
        self._connection.settimeout(timeout_s)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 16, _MOST_DESCRIPTORS)
            while b"\n" not in data:
                data += self._more()
            length, _, body = data.partition(b"\n")
            parts = [body]
            missing = int(length) - len(body)
            while missing > 0:
                parts.append(self._more())
                missing -= len(parts[-1])
        except OSError as error:
            self.close()
            raise _gone(str(error)) from error
        return msgspec.json.decode(b"".join(parts)), descriptors

    def _more(self) -> bytes:
        data = self._connection.recv(1 << 20)
        if not data:
            raise ConnectionResetError("It has ended")
        return data


def _gone(why: str) -> HostFailure:
    return HostFailure(
        "The program that manages a network does not answer",
        why=why,
        todo="It is started again with the next change; its steward.log tells more",
        code="network-failed",
    )


async def _start(folder: Path, uid: int | None, *words: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        argv = program(str(theirs.fileno()), "-1" if uid is None else str(uid), *words)
        try:
            await detach(argv, log=folder / "steward.log", env={MARKER: str(folder)}, pass_fds=(theirs.fileno(),))
        except BaseException:
            ours.close()
            raise
    return ours

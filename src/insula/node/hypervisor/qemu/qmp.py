"""One machine's QMP connection: every wait bounded, every failure one of ours.

QMP serves one client at a time and lets a second one wait in silence; that silence is what a timeout of the greeting
means here. Source: QEMU QMP Reference Manual, docs/interop/qmp-spec.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate

from insula.base.errors import HostFailure, Unavailable
from insula.node.runtime.processes import peer_pid
from insula.node.runtime.sockets import connect

_COMMAND_TIMEOUT_S = 10.0
_DISCONNECT_TIMEOUT_S = 2.0

# The library logs each lost connection as an error; machines end all the time, and we say what it meant.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Qmp:
    """A connected client. Use :meth:`open`."""

    def __init__(self, name: str, client: QMPClient, pid: int) -> None:
        self._name = name
        self._client = client
        self.peer_pid = pid

    @classmethod
    async def open(cls, name: str, path: Path, timeout_s: float) -> Qmp:
        """Connect and negotiate. `name` is the machine's, for errors.

        Raises OSError when nobody listens, and :class:`Unavailable` when QEMU does not greet in time or hangs up.
        """
        client = QMPClient(name)
        try:
            async with asyncio.timeout(timeout_s):
                connection = await connect(path, timeout_s)
                pid = peer_pid(connection)
                try:
                    await client.connect(connection)
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError as error:
            raise Unavailable(
                f"The machine of {name} does not answer on {path.name}",
                why=f"QEMU did not greet within {timeout_s:g} s: another program is connected to it, or it hangs",
                todo="Close the other connection, or kill the machine",
                code="qmp-busy",
            ) from error
        except ConnectError as error:
            raise Unavailable(
                f"The machine of {name} hung up", why=str(error), todo="Look at its qemu.log", code="qmp-closed"
            ) from error
        return cls(name, client, pid)

    @property
    def is_connected(self) -> bool:
        return bool(self._client.runstate == Runstate.RUNNING)

    async def run(
        self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = _COMMAND_TIMEOUT_S
    ) -> Any:
        """Execute a command and return its value.

        Raises :class:`HostFailure` when QEMU refuses it, :class:`Unavailable` when it does not answer or is gone.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.execute(command, dict(arguments) if arguments else None)
        except TimeoutError as error:
            raise Unavailable(
                f"The machine of {self._name} does not answer",
                why=f"QEMU did not finish {command} within {timeout_s:g} s",
                todo="Look at the host's load; kill the machine if it stays like this",
                code="qmp-timeout",
            ) from error
        except ExecuteError as error:
            raise HostFailure(
                f"QEMU refused {command} for {self._name}",
                why=f"{error.error_class}: {error}",
                todo="Look at its qemu.log",
                code="qmp-refused",
            ) from error
        except (ExecInterruptedError, QMPError, OSError, EOFError) as error:
            raise Unavailable(
                f"The machine of {self._name} is gone or hung up",
                why=f"{type(error).__name__} while {command} ran",
                todo="Look at the instance's state",
                code="qmp-closed",
            ) from error

    async def give(self, name: str, descriptor: int) -> None:
        """Hand QEMU a descriptor, known to it as `name` until a command uses it up. Ours stays open."""
        self._send(descriptor)
        await self.run("getfd", {"fdname": name})

    async def give_to_set(self, descriptor: int, set_id: int | None = None, *, label: str = "") -> int:
        """Hand QEMU a descriptor that it opens as `/dev/fdset/ID`; a new set without `set_id`. Ours stays open.

        By its `label` it is found again among all that QEMU has.
        """
        self._send(descriptor)
        wish = {"fdset-id": set_id, "opaque": label or None}
        given = {name: value for name, value in wish.items() if value is not None}
        return int((await self.run("add-fd", given))["fdset-id"])

    def _send(self, descriptor: int) -> None:
        try:
            self._client.send_fd_scm(descriptor)
        except (QMPError, OSError) as error:
            raise Unavailable(
                f"The machine of {self._name} takes no file", why=str(error), todo="Try again", code="qmp-closed"
            ) from error

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """All events from the first call on, each with `event` and perhaps `data`; goes on until it is closed."""
        with self._client.listener() as listener:
            async for event in listener:
                yield event

    async def until_closed(self) -> None:
        """Return when the connection is lost."""
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()

    async def close(self) -> None:
        """Disconnect; QEMU goes on. May be repeated."""
        # The library raises here what ended the connection before, which nobody needs any more.
        with contextlib.suppress(TimeoutError, QMPError, OSError, EOFError):
            async with asyncio.timeout(_DISCONNECT_TIMEOUT_S):
                await self._client.disconnect()

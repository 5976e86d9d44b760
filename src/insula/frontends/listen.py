"""The listeners: TCP, the same over TLS, and a Unix socket; one application, one event loop.

The Unix socket's peer is taken from the kernel (SO_PEERCRED) when a connection is made and handed to the application in
the ASGI state; nothing that a client sends can pretend to be it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from insula.base.errors import Conflict, HostFailure
from insula.base.log import get_logger
from insula.frontends.edge import Peer

_log = get_logger(__name__)
_BACKLOG = 1024
_GRACE_S = 5
_DATE_EVERY_S = 1.0
_FAREWELL_S = 0.1  # events and consoles say why they end before their connections are shut
_PEERCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class PeerProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that also knows who is at the other end of a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            pid, uid, _gid = _PEERCRED.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
            )
            # uvicorn copies this state into the scope of every request of the connection, WebSockets included.
            self.app_state = {**self.app_state, "peer": Peer(uid=uid, pid=pid)}


class _Listener(uvicorn.Server):
    """One uvicorn server on one socket that is bound already; signals are the service's business, not its."""

    def __init__(self, config: uvicorn.Config, bound: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(config)
        self._bound = bound
        self._tls = tls
        self.ready = asyncio.Event()
        self._leave = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return PeerProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

        if self._bound.family == socket.AF_UNIX:
            server = await loop.create_unix_server(protocol, sock=self._bound, backlog=_BACKLOG)
        else:
            server = await loop.create_server(protocol, sock=self._bound, ssl=self._tls, backlog=_BACKLOG)
        self.servers = [server]
        self.started = True
        self.ready.set()

    async def main_loop(self) -> None:
        # uvicorn's own looks ten times a second whether it should end; ours is told, and only keeps the date current.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leave.wait(), _DATE_EVERY_S)

    def leave(self) -> None:
        """Finish what runs and return from `serve`."""
        self.should_exit = True
        self._leave.set()


def _config(app: ASGIApp) -> uvicorn.Config:
    application: Any = app  # uvicorn's own ASGI types are as strict as Litestar's, but not the same ones
    return uvicorn.Config(
        application,
        http=PeerProtocol,
        ws="wsproto",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
        ws_max_size=1024 * 1024,
    )


@dataclass(frozen=True)
class Tls:
    """Where the same is served over HTTPS, and with which certificate."""

    host: str
    port: int
    context: ssl.SSLContext


async def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    socket_path: Path,
    stop: asyncio.Event,
    closing: asyncio.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
    tls: Tls | None = None,
) -> None:
    """Serve until `stop` is set, then finish what runs and return.

    `closing` is the event that was given to `make_app`: setting it ends events and consoles, which would never end.
    `on_ready` gets `host:port` once all listeners accept. Raises Conflict when a port or the socket is taken.
    """
    unix = bind_unix(socket_path)
    try:
        tcp = bind_tcp(host, port)
        listeners = [_Listener(_config(app), unix), _Listener(_config(app), tcp)]
        if tls is not None:
            listeners.append(_Listener(_config(app), bind_tcp(tls.host, tls.port, "INSULA_LISTEN_TLS"), tls.context))
        async with asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.serve())
            group.create_task(_stop_when(stop, closing, listeners))
            for listener in listeners:
                await listener.ready.wait()
            if on_ready is not None:
                on_ready(f"{host}:{tcp.getsockname()[1]}")
    finally:
        unix.close()
        socket_path.unlink(missing_ok=True)


async def _stop_when(stop: asyncio.Event, closing: asyncio.Event | None, listeners: list[_Listener]) -> None:
    await stop.wait()
    if closing is not None:
        closing.set()
        await asyncio.sleep(_FAREWELL_S)
    for listener in listeners:
        listener.leave()


def bind_tcp(host: str, port: int, setting: str = "INSULA_LISTEN") -> socket.socket:
    """A listening address. Raises Conflict (taken) and HostFailure (not ours, not allowed)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named; it would hold the end of an answer back
    # until the client acknowledges its beginning, which takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == 98:
            raise Conflict(
                f"Port {port} of {host} is taken",
                why="Another program listens there, perhaps another Insula",
                todo=f"Set {setting} to another one, e.g. {setting}=127.0.0.1:7790",
                code="port-taken",
            ) from error
        raise HostFailure(
            f"The service cannot listen at {host}:{port}",
            why=str(error),
            todo=f"Set {setting} to an address of this host and a port above 1023",
            code="cannot-listen",
        ) from error
    return bound


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that only its owner can open. One that a dead service left is replaced.

    Raises Conflict when a living one answers there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _answers(path):
        raise Conflict(
            f"A service runs already at {path}",
            why="It answers on its socket",
            todo="Stop it with `insula service stop`, or set another INSULA_HOME",
            code="service-running",
        )
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        bound.bind(str(fresh))
        # Closed to others before it can be found under its name.
        fresh.chmod(0o600)
        fresh.rename(path)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        fresh.unlink(missing_ok=True)
        raise HostFailure(
            f"The service cannot open its socket {path}",
            why=str(error),
            todo="Choose a shorter INSULA_HOME (a socket's path has at most 107 bytes) that you may write to",
            code="cannot-listen",
        ) from error
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True

"""Endpoints into the guest: commands, files, console, host name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import WebSocket
from litestar.handlers import WebsocketRouteHandler

from insula.base.errors import InsulaError
from insula.frontends.api.endpoint import (
    Call,
    Service,
    answer,
    body_parts,
    body_too_large,
    endpoint,
)
from insula.frontends.api.problems import render
from insula.frontends.api.reply import OCTETS, Reply
from insula.frontends.api.schemas import (
    Execute,
    FileQuery,
    InstanceView,
    LogQuery,
    Nothing,
    SetHostname,
    WriteFileQuery,
    Written,
    view,
)
from insula.frontends.console import carry
from insula.protocol.node import ExecResult

MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024
CONSOLE_PATH = "/v1/instances/{instance}/console"
CONSOLE_ACTION = "guest.console"


@endpoint("POST", "/v1/instances/{instance}/exec", action="guest.exec", takes=Execute, gives=ExecResult)
async def execute(call: Call[Execute, Nothing]) -> Reply:
    """Run a program as root in the guest, to its end."""
    wish = call.body
    result = await call.actions.guest.execute(
        call.caller, call.path["instance"], wish.argv, stdin=wish.stdin, timeout_s=wish.timeout_s
    )
    return answer(result)


@endpoint("GET", "/v1/instances/{instance}/files", action="guest.read_file", asks=FileQuery, media=OCTETS, streams=True)
async def read_file(call: Call[Nothing, FileQuery]) -> Reply:
    """Read a file of the guest."""
    content = await call.actions.guest.read_file(call.caller, call.path["instance"], call.query.path)
    # The first piece is fetched before the answer begins, so that a missing file is a 404 and not a torn stream.
    first = await anext(aiter(content), b"")
    return Reply(_continued(first, content), media=OCTETS)


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
        async for part in rest:
            yield part


@endpoint(
    "PUT",
    "/v1/instances/{instance}/files",
    action="guest.write_file",
    asks=WriteFileQuery,
    gives=Written,
    uploads=True,
)
async def write_file(call: Call[Nothing, WriteFileQuery]) -> Reply:
    """Write a file of the guest from the body; an existing one is replaced."""
    query = call.query
    size_bytes = await call.actions.guest.write_file(
        call.caller, call.path["instance"], query.path, _limited(call), mode=int(query.mode, 8)
    )
    return answer(Written(size_bytes))


async def _limited(call: Call[Any, Any]) -> AsyncIterator[bytes]:
    size = 0
    async for part in body_parts(call.request):
        size += len(part)
        if size > MAX_FILE_BYTES:
            raise body_too_large(MAX_FILE_BYTES)
        yield part


@endpoint(
    "GET",
    "/v1/instances/{instance}/console/log",
    action="guest.console_log",
    asks=LogQuery,
    media=OCTETS,
)
async def console_log(call: Call[Nothing, LogQuery]) -> Reply:
    """Read the last bytes that the guest wrote on its serial console."""
    log = await call.actions.guest.console_log(call.caller, call.path["instance"], call.query.max_bytes)
    return Reply(log, media=OCTETS)


@endpoint(
    "PUT", "/v1/instances/{instance}/hostname", action="guest.set_hostname", takes=SetHostname, gives=InstanceView
)
async def set_hostname(call: Call[SetHostname, Nothing]) -> Reply:
    """Change the host name in the running guest and in the record."""
    changed = await call.actions.guest.set_hostname(call.caller, call.path["instance"], call.body.hostname)
    return answer(view(changed))


def console_handler(service: Service) -> WebsocketRouteHandler:
    """The serial console as a WebSocket of binary messages; refused with a problem before it opens."""

    async def attach(socket: WebSocket[Any, Any, Any]) -> None:
        caller = socket.scope["state"]["caller"]
        try:
            stream = await service.actions.guest.console(caller, socket.path_params["instance"])
        except InsulaError as error:
            await refuse(socket, error, caller.request_id)
            return
        try:
            await socket.accept()
            await carry(socket, stream, service.closing)
        finally:
            await stream.close()

    # Litestar resolves annotations by name; this module's postponed ones are not visible to it.
    attach.__annotations__ = {"socket": WebSocket, "return": None}
    return WebsocketRouteHandler(CONSOLE_PATH.replace("}", ":str}"))(attach)


async def refuse(socket: WebSocket[Any, Any, Any], error: InsulaError, request_id: str) -> None:
    """Answer the upgrade with a problem (ASGI's denial response)."""
    status, body, headers = render(error, request_id)
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    send: Any = socket.send
    await send({"type": "websocket.http.response.start", "status": status, "headers": lines})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})

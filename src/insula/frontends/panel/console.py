"""The serial console in the browser: a page, and the WebSocket that it opens with a ticket."""

from __future__ import annotations

from typing import Any

from litestar import WebSocket
from litestar.handlers import WebsocketRouteHandler

from insula.base.errors import InsulaError
from insula.control.actions.caller import ACTIONS
from insula.frontends.console import carry
from insula.frontends.panel.render import page, render_error
from insula.frontends.panel.session import Session, check_origin
from insula.frontends.panel.visit import ROOT, Answer, Panel, Visit, route

_LOG_BYTES = 32 * 1024


@route("GET", "/instances/{name}/console")
async def show(visit: Visit) -> Answer:
    """The console, with a ticket for it."""
    ACTIONS["guest.console"].authorize(visit.caller)
    found = await visit.actions.instances.show(visit.caller, visit.path["name"])
    log = await visit.actions.guest.console_log(visit.caller, found.id, _LOG_BYTES) if found.node else b""
    return page(
        visit, "console.html", instance=found, ticket=_ticket(visit, found.id), log=log.decode("utf-8", "replace")
    )


@route("POST", "/instances/{name}/ticket")
async def ticket(visit: Visit) -> Answer:
    """Another ticket, for a page whose connection was lost."""
    ACTIONS["guest.console"].authorize(visit.caller)
    found = await visit.actions.instances.show(visit.caller, visit.path["name"])
    return Answer(_ticket(visit, found.id).encode(), media="text/plain; charset=utf-8")


def _ticket(visit: Visit, instance_id: str) -> str:
    return "" if visit.session is None else visit.panel.tickets.give(visit.session.known_by, instance_id)


def handler(panel: Panel) -> WebsocketRouteHandler:
    """Carries bytes between a page and a guest."""

    async def attach(socket: WebSocket[Any, Any, Any]) -> None:
        caller = socket.scope["state"]["caller"]
        try:
            stream = await _open(panel, socket)
        except InsulaError as error:
            await _refuse(socket, error, caller.request_id)
            return
        try:
            await socket.accept()
            await carry(socket, stream, panel.closing)
        finally:
            await stream.close()

    # Litestar resolves annotations by name; this module's postponed ones are not visible to it.
    attach.__annotations__ = {"socket": WebSocket, "return": None}
    return WebsocketRouteHandler(f"{ROOT}/instances/{{name:str}}/console/socket")(attach)


async def _open(panel: Panel, socket: WebSocket[Any, Any, Any]) -> Any:
    caller = socket.scope["state"]["caller"]
    session: Session | None = socket.scope["state"].get("session")
    # Browsers let any site open a WebSocket, and send this site's cookies along.
    check_origin("CONNECT", {"origin": "", **socket.headers})
    found = await panel.actions.instances.show(caller, socket.path_params["name"])
    known_by = session.known_by if session is not None else ""
    panel.tickets.take(socket.query_params.get("ticket", ""), known_by, found.id)
    return await panel.actions.guest.console(caller, found.id)


async def _refuse(socket: WebSocket[Any, Any, Any], error: InsulaError, request_id: str) -> None:
    """Answer the upgrade with a page (ASGI's denial response)."""
    status, body, headers = render_error(error, request_id)
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    send: Any = socket.send
    await send({"type": "websocket.http.response.start", "status": status, "headers": lines})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})

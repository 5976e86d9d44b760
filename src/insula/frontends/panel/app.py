"""The panel as an application beside the others, put together."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any, TypeGuard

from litestar import HttpMethod, Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.base.log import get_logger
from insula.control.actions import Actions
from insula.frontends.edge import Edge, Manners, internal_error
from insula.frontends.limits import Count, RateLimits

# The pages register themselves on import.
from insula.frontends.panel import (
    account,
    addresses,
    audit,
    backups,
    console,
    create,
    entry,
    find,
    firewalls,
    graphs,
    home,
    images,
    instances,
    keys,
    networks,
    operations,
    projects,
    snapshots,
    tokens,
    users,
    volumes,
)
from insula.frontends.panel.assets import PREFIX
from insula.frontends.panel.forms import MAX_FORM_BYTES, Form, Once, parse_form
from insula.frontends.panel.live import Pulse
from insula.frontends.panel.render import ASSETS, SECURITY_HEADERS, problem, render_error
from insula.frontends.panel.session import check_form_token, check_origin, identify
from insula.frontends.panel.tickets import Tickets
from insula.frontends.panel.visit import ROOT, ROUTES, Answer, Panel, Route, Visit
from insula.frontends.streaming import StreamingResponse

_log = get_logger(__name__)
PAGE_MODULES = (
    account,
    addresses,
    audit,
    backups,
    console,
    create,
    entry,
    find,
    firewalls,
    graphs,
    home,
    images,
    instances,
    keys,
    networks,
    operations,
    projects,
    snapshots,
    tokens,
    users,
    volumes,
)
_FORM = "application/x-www-form-urlencoded"
_WORTH_COMPRESSING = 1000


def with_panel(rest: ASGIApp, actions: Actions, limits: RateLimits, *, closing: asyncio.Event | None = None) -> ASGIApp:
    """The panel at `/panel/`, to which a browser is also led that asks for `/`; and `rest` at all other paths."""
    return Beside(make_panel(actions, limits, closing or asyncio.Event()), rest)


class Beside:
    """Gives each request to the panel or to the rest, by its path."""

    def __init__(self, panel: ASGIApp, rest: ASGIApp) -> None:
        self._panel = panel
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_http(scope) and scope["path"].startswith(PREFIX):
            await ASSETS.serve(scope, send)
        elif _is_http(scope) and (scope["path"] == ROOT or _is_browser_at_root(scope)):
            headers = [(b"location", f"{ROOT}/".encode()), (b"vary", b"accept")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif scope["type"] in ("http", "websocket") and scope["path"].startswith(f"{ROOT}/"):
            await self._panel(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


def _is_http(scope: Scope) -> TypeGuard[HTTPScope]:
    return scope["type"] == ScopeType.HTTP


def _is_browser_at_root(scope: Any) -> bool:
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return scope["path"] == "/" and scope["method"] in {"GET", "HEAD"} and b"text/html" in accept


def make_panel(actions: Actions, limits: RateLimits, closing: asyncio.Event) -> ASGIApp:
    panel = Panel(actions, closing, Pulse(actions), Once(lambda answer: answer.status < 400), Tickets())
    inner = Litestar(
        route_handlers=[*(_handler(entry, panel) for entry in ROUTES), console.handler(panel)],
        exception_handlers={InsulaError: _on_problem, HTTPException: _on_http_error, Exception: _on_surprise},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_FORM_BYTES,
    )
    public = frozenset(f"{ROOT}{entry.path}" for entry in ROUTES if entry.public)
    return Edge(inner, actions, limits, Manners(render_error, _tell, public, identify))


def _tell(count: Count) -> list[tuple[bytes, bytes]]:
    return []  # people have no use for what is left of a limit


def _handler(entry: Route, panel: Panel) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> Any:
        check_origin(entry.method, request.headers)
        visit = Visit(panel, request, request.path_params, _query(request), await _form(entry, request))
        if entry.public or entry.method == "GET":
            return _response(await entry.run(visit), request)
        check_form_token(entry.method, visit.session, visit.form.text("token") or request.headers.get("x-token", ""))
        session, once = visit.session, visit.form.text("once")
        if once and session is not None:
            answer = await panel.once.run(
                f"{session.known_by} {request.scope['path']} {once}", lambda: entry.run(visit)
            )
        else:
            answer = await entry.run(visit)
        return _response(answer, request)

    # Litestar resolves annotations by name; this module's postponed ones are not visible to it.
    handle.__annotations__ = {"request": Request, "return": ASGIResponse}
    path = ROOT + entry.path.replace("}", ":str}")
    return HTTPRouteHandler(path, http_method=HttpMethod(entry.method), status_code=200)(handle)


def _query(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    texts = parse_form(request.scope["query_string"]).values
    return {name: values[-1] for name, values in texts.items()}


async def _form(entry: Route, request: Request[Any, Any, Any]) -> Form:
    if entry.method == "GET":
        return Form()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _FORM:
        raise InvalidInput(
            f"A body of type {media[:80] or 'unknown'} cannot be read here",
            why=f"Forms come as {_FORM}",
            todo="Use the page's own form",
            code="unsupported-media-type",
        )
    return parse_form(await request.body())


def _response(answer: Answer, request: Request[Any, Any, Any]) -> ASGIResponse:
    headers = [*SECURITY_HEADERS.items(), *answer.headers.items(), *(("set-cookie", line) for line in answer.cookies)]
    if not isinstance(answer.content, bytes):
        return StreamingResponse(answer.content, answer.status, answer.media, dict(headers))
    body = answer.content
    if len(body) > _WORTH_COMPRESSING and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 4, mtime=0)
        headers += [("content-encoding", "gzip"), ("vary", "accept-encoding")]
    return ASGIResponse(body=body, status_code=answer.status, media_type=answer.media, headers=headers)


def _on_problem(request: Request[Any, Any, Any], error: InsulaError) -> Response[bytes]:
    answer = problem(request, error)
    return Response(answer.content, status_code=answer.status, media_type=answer.media, headers=SECURITY_HEADERS)


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    path = request.scope["path"][:120]
    if isinstance(error, NotFoundException | MethodNotAllowedException):
        return _on_problem(
            request,
            NotFound(
                f"There is nothing at {path}",
                why="No page has this address",
                todo="Go to the home page, or use the menu",
                code="unknown-path",
            ),
        )
    if error.status_code < 500:
        return _on_problem(
            request,
            InvalidInput(
                "The request cannot be read",
                why=error.detail,
                todo="Open the page again",
                code="body-too-large" if error.status_code == 413 else "malformed-request",
            ),
        )
    return _on_surprise(request, error)


def _on_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    request_id = request.scope["state"]["request_id"]
    _log.error("request failed", exc_info=error, request_id=request_id, path=request.scope["path"])
    return _on_problem(request, internal_error())

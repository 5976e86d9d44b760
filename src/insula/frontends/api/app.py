"""The ASGI application of `/v1`, put together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp

# The endpoints register themselves on import.
from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.base.log import get_logger
from insula.control.actions import Actions
from insula.frontends.api import (
    access,
    addresses,
    backups,
    firewalls,
    forwards,
    guest,
    host,
    images,
    instances,
    metrics,
    networks,
    operations,
    snapshots,
    traffic,
    users,
    volumes,
)
from insula.frontends.api.endpoint import ENDPOINTS, PUBLIC_PATHS, Service, handler_of, options_handlers
from insula.frontends.api.lists import ListCache
from insula.frontends.api.openapi import describe
from insula.frontends.api.problems import malformed, render
from insula.frontends.certificates import Certificates
from insula.frontends.edge import Edge, Manners, internal_error
from insula.frontends.limits import Count, RateLimits

_log = get_logger(__name__)

ENDPOINT_MODULES = (
    access,
    addresses,
    backups,
    firewalls,
    forwards,
    guest,
    host,
    images,
    instances,
    metrics,
    networks,
    operations,
    snapshots,
    traffic,
    users,
    volumes,
)


def make_app(
    actions: Actions,
    limits: RateLimits,
    *,
    closing: asyncio.Event | None = None,
    certificates: Certificates | None = None,
) -> ASGIApp:
    """The application. Set `closing` to end endless answers (events, consoles) when the service stops."""
    service = Service(actions, closing or asyncio.Event(), ListCache(), describe(), certificates)
    inner = Litestar(
        route_handlers=[
            # First, since Litestar adds its own to every path that has none yet, and refuses a second one.
            *options_handlers(),
            *(handler_of(entry, service) for entry in ENDPOINTS),
            guest.console_handler(service),
        ],
        exception_handlers={InsulaError: _on_problem, HTTPException: _on_http_error, Exception: _on_surprise},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # endpoints bound their bodies themselves
    )
    return Edge(inner, actions, limits, Manners(render, _tell, PUBLIC_PATHS))


def _tell(count: Count) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-limit", b"%d" % count.limit),
        (b"ratelimit-remaining", b"%d" % count.remaining),
        (b"ratelimit-reset", b"%d" % max(0, int(count.reset_at_s - time.time()))),
    ]


def _on_problem(request: Request[Any, Any, Any], error: InsulaError) -> Response[bytes]:
    status, body, headers = render(error, request.scope["state"]["request_id"])
    media = headers.pop("content-type")
    return Response(body, status_code=status, media_type=media, headers=headers)


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar itself finds wrong, in our words."""
    response = _on_problem(request, _translated(request, error))
    for name in ("Allow", "allow"):
        if name in (error.headers or {}):
            response.headers["allow"] = (error.headers or {})[name]
    return response


def _translated(request: Request[Any, Any, Any], error: HTTPException) -> InsulaError:
    path = request.scope["path"][:120]
    if isinstance(error, NotFoundException):
        return NotFound(
            f"There is nothing at {path}",
            why="No endpoint has this path",
            todo="Look at /v1/openapi.json",
            code="unknown-path",
        )
    if isinstance(error, MethodNotAllowedException):
        return InvalidInput(
            f"{request.method} is not possible at {path}",
            why="The endpoint has other methods; the header Allow names them",
            todo="Look at /v1/openapi.json",
            code="method-not-allowed",
        )
    if error.status_code < 500:
        return malformed(error.detail)
    return _unexpected(request, error)


def _on_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _on_problem(request, _unexpected(request, error))


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> InsulaError:
    request_id = request.scope["state"]["request_id"]
    _log.error("request failed", exc_info=error, request_id=request_id, path=request.scope["path"])
    return internal_error()

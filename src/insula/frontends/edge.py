"""The outermost layer of each API: request ids, who it is, rate limits; every error leaves in the API's own words.

What is known of the other end of a connection (:class:`Peer`) comes from the listener through the ASGI state, never
from headers. A connection without one is treated as TCP.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope

from insula.base.errors import InsulaError, InvalidInput, Unauthenticated
from insula.base.log import get_logger
from insula.control.actions import Actions
from insula.control.actions.caller import Caller
from insula.domain.access import Identity
from insula.frontends.limits import Count, RateLimits

_log = get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_Headers = list[tuple[bytes, bytes]]
_CallScope = HTTPScope | WebSocketScope
Rendered = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Arrival:
    """A request of somebody who is not known yet. `project` is the one that it names, if any."""

    scope: _CallScope
    headers: Mapping[bytes, str]
    project: str
    receive: Receive


@dataclass(frozen=True)
class Known:
    """Who it is, what their requests are counted by, and where the application receives the request from."""

    identity: Identity
    counted_by: str
    receive: Receive


Identify = Callable[[Actions, Arrival], Awaitable[Known]]


async def by_bearer_token(actions: Actions, arrival: Arrival) -> Known:
    """Raises Unauthenticated, and NotFound for a project that is not the token's."""
    credential = arrival.headers.get(b"authorization", "")
    identity = await actions.access.of_token(_bearer(credential), arrival.project)
    return Known(identity, credential, arrival.receive)


@dataclass(frozen=True)
class Manners:
    """How an API speaks. `render` makes status, body and headers of an error and a request's id, `tell` makes headers
    of what is left to a caller of a limit. Who asks for the `public` paths need not be known; all others are known by
    `identify`. Answers carry the request's id in `id_header`, and bodies have the media type `media`."""

    render: Callable[[InsulaError, str], Rendered]
    tell: Callable[[Count], _Headers]
    public: frozenset[str] = frozenset()
    identify: Identify = by_bearer_token
    id_header: bytes = b"x-request-id"
    media: str = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of a Unix socket, by the kernel's word."""

    uid: int
    pid: int


class Edge:
    """Wraps the application; lets in whom it knows."""

    def __init__(self, app: ASGIApp, actions: Actions, limits: RateLimits, manners: Manners) -> None:
        self._app = app
        self._actions = actions
        self._limits = limits
        self._manners = manners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request_id = _request_id(headers.get(b"x-request-id", ""))
        extra: _Headers = [(self._manners.id_header, request_id.encode())]
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                started = True
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            state: dict[str, Any] = scope.setdefault("state", {})
            state["request_id"] = request_id
            if scope["path"] not in self._manners.public and scope.get("method") != "OPTIONS":
                arrival = Arrival(scope, headers, _project(headers.get(b"insula-project", "")), receive)
                known = await self._identify(arrival, extra)
                state["caller"] = Caller(known.identity, request_id)
                receive = known.receive
            await self._app(scope, receive, send_with_headers)
        except InsulaError as error:
            if started:
                raise
            await self._refuse(scope["type"], error, request_id, send_with_headers)
        except Exception as error:
            # The last resort: whatever it was, the caller gets a problem with the request id, the log the rest.
            if started:
                raise
            _log.error("request failed", exc_info=error, request_id=request_id, path=scope["path"])
            await self._refuse(scope["type"], internal_error(), request_id, send_with_headers)

    async def _identify(self, arrival: Arrival, extra: _Headers) -> Known:
        peer = arrival.scope["state"].get("peer")
        if isinstance(peer, Peer):
            return Known(await self._actions.access.of_peer(peer.uid, arrival.project), "", arrival.receive)
        try:
            known = await self._manners.identify(self._actions, arrival)
        except Unauthenticated:
            client = arrival.scope.get("client")
            self._limits.count_failure(client[0] if client else "unknown")
            raise
        extra += self._manners.tell(self._limits.count(known.counted_by))
        return known

    async def _refuse(self, kind: str, error: InsulaError, request_id: str, send: Send) -> None:
        status, body, headers = self._manners.render(error, request_id)
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        lines.append((b"content-length", b"%d" % len(body)))
        prefix = "http.response" if kind == "http" else "websocket.http.response"
        # One dictionary serves both kinds of message; their TypedDicts differ in the type's name alone.
        start: Any = {"type": f"{prefix}.start", "status": status, "headers": lines}
        rest: Any = {"type": f"{prefix}.body", "body": body, "more_body": False}
        await send(start)
        await send(rest)


def internal_error() -> InsulaError:
    """What a caller sees of an error that nobody foresaw; the log has the rest."""
    return InsulaError(
        "The service met an error that it did not expect",
        why="This is a defect of Insula",
        todo="Look for the request id in `insula service logs` and report it",
    )


def _request_id(given: str) -> str:
    """The caller's, when it is harmless in logs and headers, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else f"req-{secrets.token_hex(10)}"


def _bearer(credential: str) -> str:
    kind, _, secret = credential.partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(
            "This needs a token",
            why="The request has no header Authorization: Bearer …",
            todo="Set INSULA_TOKEN; `insula token create` on the host makes one",
            code="no-token",
        )
    return secret.strip()


def _project(given: str) -> str:
    if len(given) > 63 or "\x00" in given:
        raise InvalidInput(
            "The header Insula-Project names no project",
            why="A project's name has at most 63 characters",
            todo="Send the project's name, or leave the header out",
            fields={"Insula-Project": "is no name"},
        )
    return given

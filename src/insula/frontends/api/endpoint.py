"""One endpoint of `/v1`: what it takes, what it gives, which action it calls, and how Litestar runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import HttpMethod, Request
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from insula.base.errors import InvalidInput, NotFound
from insula.control.actions import Actions
from insula.control.actions.caller import Caller, Page
from insula.domain.operation import Operation
from insula.frontends.api.lists import ListCache
from insula.frontends.api.parsing import parse_body, parse_query
from insula.frontends.api.problems import malformed
from insula.frontends.api.reply import JSON, Reply
from insula.frontends.api.schemas import Nothing, PageOf, PageQuery, Wish, without_secrets
from insula.frontends.certificates import Certificates
from insula.frontends.streaming import StreamingResponse

MAX_BODY_BYTES = 2 * 1024 * 1024
PUBLIC_PATHS = frozenset({"/v1/health", "/v1/openapi.json", "/v1/ca"})

_B = TypeVar("_B", bound=Wish)
_Q = TypeVar("_Q", bound=Wish)
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Service:
    """What every endpoint may use. `closing` is set when the service stops: endless answers end then."""

    actions: Actions
    closing: asyncio.Event
    lists: ListCache
    description: bytes  # the OpenAPI document
    certificates: Certificates | None = None  # None when nothing is served over HTTPS


@dataclass(frozen=True)
class Call(Generic[_B, _Q]):
    """One request, parsed."""

    service: Service
    path: Mapping[str, str]
    query: _Q
    body: _B
    request: Request[Any, Any, Any]

    @property
    def actions(self) -> Actions:
        return self.service.actions

    @property
    def caller(self) -> Caller:
        """Whom the edge has let in; public endpoints have none."""
        found: Caller = self.request.scope["state"]["caller"]
        return found


@dataclass(frozen=True)
class Endpoint:
    """`action` is the one whose scope is needed; an endpoint without one needs just an identity, unless `public`.

    `optional_body` may be left out. `streams` may give an endless answer; `uploads` reads its body itself.
    """

    method: str
    path: str
    run: Callable[[Call[Any, Any]], Awaitable[Reply]]
    summary: str
    action: str = ""
    takes: type[Wish] | None = None
    asks: type[Wish] = Nothing
    gives: Any = None
    status: int = 200
    media: str = JSON
    public: bool = False
    optional_body: bool = False
    streams: bool = False
    uploads: bool = False

    @property
    def parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


ENDPOINTS: list[Endpoint] = []


def endpoint(
    method: str, path: str, **facts: Any
) -> Callable[[Callable[[Call[Any, Any]], Awaitable[Reply]]], Callable[[Call[Any, Any]], Awaitable[Reply]]]:
    """Make a function an endpoint; its docstring's first line is the summary. `facts` are Endpoint's fields."""

    def mark(run: Callable[[Call[Any, Any]], Awaitable[Reply]]) -> Callable[[Call[Any, Any]], Awaitable[Reply]]:
        summary = (run.__doc__ or "").strip().partition("\n")[0]
        ENDPOINTS.append(Endpoint(method, path, run, summary, **facts))
        return run

    return mark


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(_encode(value), status, JSON, headers or {})


def created(value: Any, location: str) -> Reply:
    return answer(value, 201, {"location": location})


def accepted(operation: Operation) -> Reply:
    """202: durable work has begun; the operation's place is in Location."""
    return answer(without_secrets(operation), 202, {"location": f"/v1/operations/{operation.id}"})


def gone() -> Reply:
    return Reply(b"", 204)


def page_reply(path: str, query: Wish, page: Page[_T], view: Callable[[_T], Any] | None = None) -> Reply:
    """A part of a list with the way to the next one."""
    items = page.items if view is None else [view(item) for item in page.items]
    if page.next_after is None:
        return answer(PageOf(items=items))
    given = {name: value for name, value in msgspec.to_builtins(query).items() if value not in ("", None)}
    link = f"{path}?{urlencode(given | {'after': page.next_after})}"
    return answer(PageOf(items=items, next_after=page.next_after, next=link), 200, {"link": f'<{link}>; rel="next"'})


def part_of(items: Sequence[_T], query: PageQuery, cursor: Callable[[_T], str]) -> Page[_T]:
    """The part of a short, whole list that `query` asks for; its order is kept."""
    begin = 0
    if query.after:
        begin = next((index + 1 for index, item in enumerate(items) if cursor(item) == query.after), len(items))
    part = tuple(items[begin : begin + query.limit])
    more = begin + query.limit < len(items)
    return Page(part, cursor(part[-1]) if more and part else None)


def handler_of(entry: Endpoint, service: Service) -> HTTPRouteHandler:
    """The endpoint as a Litestar route; GET answers HEAD as well, except endless ones."""
    methods = [HttpMethod(entry.method)]
    if entry.method == "GET" and not entry.streams:
        methods.append(HttpMethod.HEAD)

    async def handle(request: Request[Any, Any, Any]) -> Any:
        _check_acceptable(entry, request.headers.get("accept", ""))
        call = Call(
            service=service,
            path=_path(request),
            query=parse_query(entry.asks, request.scope["query_string"]),
            body=await _body(entry, request),
            request=request,
        )
        return _response(await entry.run(call))

    # Litestar resolves annotations by name; this module's postponed ones are not visible to it.
    handle.__annotations__ = {"request": Request, "return": ASGIResponse}
    path = entry.path.replace("}", ":str}")
    # The reply carries its own status; Litestar only wants one that may have a body.
    return HTTPRouteHandler(path, http_method=methods, status_code=200)(handle)


def allowed_methods() -> Mapping[str, str]:
    """What each path's `Allow` header says."""
    methods: dict[str, set[str]] = {}
    for entry in ENDPOINTS:
        found = methods.setdefault(entry.path, {"OPTIONS"})
        found.add(entry.method)
        if entry.method == "GET" and not entry.streams:
            found.add("HEAD")
    return {path: ", ".join(sorted(found)) for path, found in methods.items()}


def options_handlers() -> list[HTTPRouteHandler]:
    """OPTIONS of every path; Litestar's own names the methods of one handler only."""
    return [_options_handler(path, allowed) for path, allowed in allowed_methods().items()]


def _options_handler(path: str, allowed: str) -> HTTPRouteHandler:
    async def options() -> Any:
        return ASGIResponse(status_code=204, headers={"allow": allowed})

    options.__annotations__ = {"return": ASGIResponse}
    return HTTPRouteHandler(path.replace("}", ":str}"), http_method=HttpMethod.OPTIONS, status_code=200)(options)


def _path(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    parameters: Mapping[str, str] = request.path_params
    if any("\x00" in value for value in parameters.values()):
        raise NotFound(
            "No such thing can exist", why="Its name contains a zero byte", todo="Check the path", code="unknown-path"
        )
    return parameters


async def _body(entry: Endpoint, request: Request[Any, Any, Any]) -> Any:
    if entry.takes is None:
        return Nothing()
    content = await _read(request)
    if not content and entry.optional_body:
        return entry.takes()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON:
        raise InvalidInput(
            f"A body of type {media[:80] or 'unknown'} cannot be read here",
            why=f"This endpoint takes {JSON}",
            todo=f"Send the header Content-Type: {JSON}",
            code="unsupported-media-type",
        )
    return parse_body(entry.takes, content)


async def _read(request: Request[Any, Any, Any]) -> bytes:
    """The whole body, refused as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise body_too_large(MAX_BODY_BYTES)
    parts: list[bytes] = []
    size = 0
    async for part in body_parts(request):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise body_too_large(MAX_BODY_BYTES)
        parts.append(part)
    return b"".join(parts)


async def body_parts(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The request's body as it comes in. Raises InvalidInput when the caller goes away before its end."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise malformed("The connection ended before the body did")
        more = message.get("more_body", False)
        if part := message.get("body", b""):
            yield part


def body_too_large(limit_bytes: int) -> InvalidInput:
    return InvalidInput(
        "The body is too large",
        why=f"At most {limit_bytes} bytes are read here",
        todo="Send less; large files go through /v1/instances/{instance}/files",
        code="body-too-large",
    )


def _check_acceptable(entry: Endpoint, accept: str) -> None:
    if not accept or "*/*" in accept:
        return
    media = entry.media.partition(";")[0]
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if media in ranges or f"{media.partition('/')[0]}/*" in ranges:
        return
    raise InvalidInput(
        "No such representation is available",
        why=f"This endpoint gives {media}; accepted was {accept[:80]}",
        todo=f"Send the header Accept: {media}",
        code="not-acceptable",
    )


def _response(reply: Reply) -> ASGIResponse:
    if isinstance(reply.content, bytes):
        media = None if reply.status in (204, 304) else reply.media
        return ASGIResponse(body=reply.content, status_code=reply.status, media_type=media, headers=dict(reply.headers))
    return StreamingResponse(reply.content, reply.status, reply.media, reply.headers)

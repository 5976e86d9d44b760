"""What all dialects are made of: operations that register themselves, parsed requests, and the application.

A dialect is tolerant of what its vendor tolerates: unknown and null fields, bodies on GET, slashes at a path's end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import HttpMethod, Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.base.log import get_logger
from insula.control.actions import Actions
from insula.control.actions.caller import Caller
from insula.frontends.edge import Edge, Manners, internal_error
from insula.frontends.limits import RateLimits

_log = get_logger(__name__)
MAX_BODY_BYTES = 2 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
_MISSING = re.compile(r"missing required field `(\w+)`(?: - at `\$(?:\.(.+))?`)?")  # as msgspec says it
_T = TypeVar("_T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Answer:
    """A body of plain values; None is no content."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """One request. `root` is how the client reached this API, as `http://127.0.0.1:7780/digitalocean`."""

    actions: Actions
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    root: str
    url: str

    def read(self, kind: type[_T]) -> _T:
        """The body as a structure; fields that are null count as left out. Raises InvalidInput."""
        given = {name: value for name, value in self.body.items() if value is not None}
        try:
            return msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _unusable(str(error)) from error


Run = Callable[[Ask], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation:
    """`name` is what the vendor's specification calls it."""

    name: str
    method: str
    path: str
    run: Run


class Dialect:
    """One vendor's API: fill :attr:`operations` by :meth:`operation`, then make the application.

    Each operation is there once under each of the `versions`, which its path does not name. `within` puts something
    between those who are known and the operations.
    """

    def __init__(
        self,
        manners: Manners,
        *,
        versions: Sequence[str] = ("",),
        within: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ) -> None:
        self.manners = manners
        self._versions = versions
        self._within = within
        self.operations: list[Operation] = []

    def operation(self, method: str, path: str, name: str) -> Callable[[Run], Run]:
        """Make a function an operation."""

        def mark(run: Run) -> Run:
            self.operations.append(Operation(name, method, path, run))
            return run

        return mark

    def app(self, actions: Actions, limits: RateLimits) -> ASGIApp:
        inner = Litestar(
            route_handlers=[self._handler(entry, actions) for entry in self.operations],
            exception_handlers={
                InsulaError: self._on_problem,
                HTTPException: self._on_http_error,
                Exception: self._on_surprise,
            },
            openapi_config=None,
            logging_config=None,
            request_max_body_size=MAX_BODY_BYTES,
        )
        return Edge(self._within(inner), actions, limits, self.manners)

    def _handler(self, entry: Operation, actions: Actions) -> HTTPRouteHandler:
        async def handle(request: Request[Any, Any, Any]) -> Any:
            answer = await entry.run(await _ask(request, actions))
            content = b"" if answer.body is None else _encode(answer.body)
            media = None if answer.body is None else self.manners.media
            return ASGIResponse(body=content, status_code=answer.status, media_type=media, headers=dict(answer.headers))

        # Litestar resolves annotations by name; this module's postponed ones are not visible to it.
        handle.__annotations__ = {"request": Request, "return": ASGIResponse}
        paths = [version + entry.path.replace("}", ":str}") for version in self._versions]
        return HTTPRouteHandler(paths, http_method=HttpMethod(entry.method), status_code=200)(handle)

    def _on_problem(self, request: Request[Any, Any, Any], error: InsulaError) -> Response[bytes]:
        status, body, headers = self.manners.render(error, request.scope["state"]["request_id"])
        media = headers.pop("content-type")
        return Response(body, status_code=status, media_type=media, headers=headers)

    def _on_http_error(self, request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        path = request.scope["path"][:120]
        if isinstance(error, NotFoundException | MethodNotAllowedException):
            return self._on_problem(
                request,
                NotFound(
                    f"There is nothing at {path}",
                    why="No operation has this path and method",
                    todo="Check the path",
                    code="unknown-path",
                ),
            )
        if error.status_code < 500:
            return self._on_problem(request, _malformed(error.detail))
        return self._on_surprise(request, error)

    def _on_surprise(self, request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        request_id = request.scope["state"]["request_id"]
        _log.error("request failed", exc_info=error, request_id=request_id, path=request.scope["path"])
        return self._on_problem(request, internal_error())


async def _ask(request: Request[Any, Any, Any], actions: Actions) -> Ask:
    path: Mapping[str, str] = request.path_params
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    texts: Sequence[str] = [*path.values(), *query.values()]
    if any("\x00" in text for text in texts):
        raise _malformed("A zero byte is part of no name")
    outer = request.scope["state"].get("outer", "")
    root = f"{request.url.scheme}://{request.headers.get('host', 'localhost')}{outer}"
    return Ask(
        actions=actions,
        caller=request.scope["state"]["caller"],
        path=path,
        query=query,
        body=_body(await request.body()),
        headers=request.headers,
        root=root,
        url=root + request.scope["path"],
    )


def _body(content: bytes) -> Mapping[str, Any]:
    if not content.strip():
        return {}
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"It is no JSON: {error}") from error
    if b"\\ud" in content.lower():
        _check_text(found)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _malformed("Its body is no JSON object")
    return found


def _check_text(found: Any) -> None:
    """Raise InvalidInput for halves of characters, which JSON can name and nobody can write down again."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise _malformed("It holds half a character, or is nested too deeply") from error


def _unusable(why: str) -> InvalidInput:
    if missing := _MISSING.search(why):
        field = ".".join(part for part in (missing[2], missing[1]) if part)
        return InvalidInput(
            f"{field} is required",
            why="It is missing",
            todo="Send it",
            code="invalid-request",
            fields={field: "is required"},
        )
    return InvalidInput("The body cannot be used", why=why, todo="Correct it", code="invalid-request")


def _malformed(why: str) -> InvalidInput:
    return InvalidInput("The request cannot be read", why=why, todo="Correct it", code="malformed-request")

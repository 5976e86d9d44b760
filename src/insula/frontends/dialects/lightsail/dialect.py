"""How this API speaks: JSON to one address, the operation's name in a header, its errors, its pages.

Source: AWS JSON 1.1 protocol; the service's description, version 2016-11-28.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from insula.base import errors
from insula.base.errors import InsulaError, InvalidInput
from insula.frontends.dialects.dialect import Answer, Ask, Dialect, Run
from insula.frontends.dialects.lightsail.identity import by_signature
from insula.frontends.edge import Manners, Rendered
from insula.frontends.limits import Count

MEDIA = "application/x-amz-json-1.1"
_TARGET = re.compile(rb"Lightsail_20161128\.([A-Za-z]{1,64})")
_HEADER = b"x-amz-target"
_PER_PAGE = 100
# The first class of an error's ancestry that stands here decides.
_KINDS: Mapping[type[InsulaError], tuple[int, str]] = {
    errors.InvalidInput: (400, "InvalidInputException"),
    errors.Unauthenticated: (400, "UnauthenticatedException"),
    errors.Forbidden: (400, "AccessDeniedException"),
    errors.NotFound: (400, "NotFoundException"),
    errors.Conflict: (400, "OperationFailureException"),
    errors.CapacityExceeded: (400, "OperationFailureException"),
    errors.RateLimited: (400, "ThrottlingException"),
    errors.Cancelled: (400, "OperationFailureException"),
    errors.Unsupported: (400, "OperationFailureException"),
    errors.Unavailable: (503, "ServiceException"),
    errors.InsulaError: (500, "ServiceException"),
}
_KINDS_OF_CODES = {
    "name-taken": (400, "InvalidInputException"),
    "malformed-request": (400, "SerializationException"),
    "unknown-path": (400, "UnknownOperationException"),
    "unsigned-request": (400, "MissingAuthenticationTokenException"),
    "invalid-token": (400, "UnrecognizedClientException"),
    "token-expired": (400, "ExpiredTokenException"),
    "incomplete-signature": (400, "IncompleteSignatureException"),
    "signature-mismatch": (400, "InvalidSignatureException"),
    "wrong-time": (400, "InvalidSignatureException"),
}
_T = TypeVar("_T")


class New(msgspec.Struct, rename="camel"):
    """What bodies are read as: their fields are written like `instanceName`."""


def kind_of(error: InsulaError) -> tuple[int, str]:
    """The status and the name of an error."""
    of_class = next(_KINDS[one] for one in type(error).__mro__ if one in _KINDS)
    return _KINDS_OF_CODES.get(error.code, of_class)


def render(error: InsulaError, request_id: str) -> Rendered:
    """The error, by its name in the body and in a header."""
    status, kind = kind_of(error)
    message = InsulaError(error.what, why=error.why)
    body = {"__type": kind, "message": str(message), "code": error.code, "docs": "docs/errors.md", "tip": error.todo}
    return status, msgspec.json.encode(body), {"content-type": MEDIA, "x-amzn-errortype": kind}


def _tell(count: Count) -> list[tuple[bytes, bytes]]:
    """They tell nothing of what is left."""
    return []


class _ByTarget:
    """Gives each operation a path of its own, made of the header that names it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http",):
            found = next((_TARGET.fullmatch(value) for name, value in scope["headers"] if name == _HEADER), None)
            scope["path"] = f"/{found[1].decode()}" if found is not None and scope["path"] == "/" else "/unknown"
        await self._app(scope, receive, send)


DIALECT = Dialect(
    Manners(render, _tell, identify=by_signature, id_header=b"x-amzn-requestid", media=MEDIA), within=_ByTarget
)


def is_for_this(scope: Scope) -> bool:
    """Whether a request is for this API, which has one address and tells its operations by a header."""
    if scope["type"] not in ("http",) or scope["path"] != "/":
        return False
    return any(name == _HEADER and _TARGET.fullmatch(value) for name, value in scope["headers"])


def operation(name: str) -> Callable[[Run], Run]:
    """Make a function the operation of this name."""
    return DIALECT.operation("POST", f"/{name}", name)


class _Page(New):
    page_token: str = ""


def page(ask: Ask, items: Sequence[_T], key: Callable[[_T], str]) -> tuple[Sequence[_T], dict[str, str]]:
    """The part of a list that was asked for, and where the next one begins. `key` grows along the list."""
    after = _after(ask.read(_Page).page_token)
    rest = [item for item in items if key(item) > after] if after else items
    shown = rest[:_PER_PAGE]
    if len(rest) <= _PER_PAGE:
        return shown, {}
    return shown, {"nextPageToken": base64.urlsafe_b64encode(key(shown[-1]).encode()).decode()}


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, altchars="-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(
            "The page token is not valid", why="It is none that was given out", todo="Begin without one"
        ) from error


def when(moment: datetime) -> float:
    """In seconds since 1970, to the millisecond."""
    return round(moment.timestamp(), 3)


def answer(**members: Any) -> Answer:
    return Answer(members)

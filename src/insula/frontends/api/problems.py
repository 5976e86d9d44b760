"""Errors as problem details (RFC 9457), `application/problem+json`."""

from __future__ import annotations

from math import ceil

import msgspec
from msgspec import Struct

from insula.base import errors
from insula.base.errors import InsulaError, InvalidInput, RateLimited
from insula.frontends.statuses import TITLES, status_of


class FieldError(Struct, frozen=True):
    field: str
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """An error (RFC 9457): `what`, `why` and `todo` for people, `code` for programs, `errors` for each wrong field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    kind: str
    what: str
    why: str
    todo: str
    retryable: bool
    request_id: str
    errors: list[FieldError] = []


MEDIA_TYPE = "application/problem+json"


_encode = msgspec.json.Encoder().encode


def problem_of(error: InsulaError, request_id: str) -> Problem:
    status = status_of(error)
    return Problem(
        type=f"urn:insula:error:{error.code}",
        title=TITLES[status],
        status=status,
        detail=str(error),
        code=error.code,
        kind=_kind_of(error),
        what=error.what,
        why=error.why,
        todo=error.todo,
        retryable=error.retryable,
        request_id=request_id,
        errors=[FieldError(field, message) for field, message in error.fields.items()],
    )


def _kind_of(error: InsulaError) -> str:
    """The class in the tree that clients know as well; a room's own subclass is its parent to them."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)


def render(error: InsulaError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of an error's answer."""
    problem = problem_of(error, request_id)
    headers = {"content-type": MEDIA_TYPE}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, ceil(error.retry_after_s)))
    if problem.status == 401:
        headers["www-authenticate"] = 'Bearer realm="insula"'
    return problem.status, _encode(problem), headers


def malformed(why: str) -> InvalidInput:
    return InvalidInput(
        "The request cannot be read",
        why=why,
        todo="Send what /v1/openapi.json describes",
        code="malformed-request",
    )

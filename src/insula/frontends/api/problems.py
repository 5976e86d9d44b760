"""Errors as problem details (RFC 9457), `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import msgspec
from msgspec import Struct

from insula.base import errors
from insula.base.errors import InsulaError, InvalidInput, RateLimited


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

# The first class of an error's ancestry that stands here decides.
STATUS_OF: Mapping[type[InsulaError], int] = {
    errors.InvalidInput: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.CapacityExceeded: 409,
    errors.RateLimited: 429,
    errors.Cancelled: 409,
    errors.Unsupported: 409,
    errors.Unavailable: 503,
    errors.DiskFull: 507,
    errors.GuestRefused: 409,
    errors.GuestFailure: 504,
    errors.InsulaError: 500,
}

# Codes of the protocol itself, which HTTP gives a status of its own.
STATUS_OF_CODE: Mapping[str, int] = {
    "malformed-request": 400,
    "method-not-allowed": 405,
    "no-backup-folder": 409,
    "no-bucket": 409,
    "not-acceptable": 406,
    "body-too-large": 413,
    "unsupported-media-type": 415,
}

TITLES: Mapping[int, str] = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    504: "The guest failed",
    507: "Disk full",
}

_encode = msgspec.json.Encoder().encode


def status_of(error: InsulaError) -> int:
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


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

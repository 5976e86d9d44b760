"""Which status of HTTP an error has, and what that status is called."""

from __future__ import annotations

from collections.abc import Mapping

from insula.base import errors
from insula.base.errors import InsulaError

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


def status_of(error: InsulaError) -> int:
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)

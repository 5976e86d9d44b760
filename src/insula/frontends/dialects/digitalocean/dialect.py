"""How this API speaks: its errors, its rate limit's headers, its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from insula.base import errors
from insula.base.errors import InsulaError, InvalidInput, RateLimited
from insula.frontends.dialects.dialect import Answer, Ask, Dialect
from insula.frontends.edge import Manners, Rendered
from insula.frontends.limits import Count

# The first class of an error's ancestry that stands here decides.
_KINDS: Mapping[type[InsulaError], tuple[int, str]] = {
    errors.InvalidInput: (422, "unprocessable_entity"),
    errors.Unauthenticated: (401, "unauthorized"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (422, "unprocessable_entity"),
    errors.CapacityExceeded: (422, "unprocessable_entity"),
    errors.RateLimited: (429, "too_many_requests"),
    errors.Cancelled: (422, "unprocessable_entity"),
    errors.Unsupported: (422, "unprocessable_entity"),
    errors.Unavailable: (503, "service_unavailable"),
    errors.InsulaError: (500, "server_error"),
}
_KINDS_OF_CODES = {"malformed-request": (400, "bad_request"), "name-taken": (409, "conflict")}
_PER_PAGE, _MOST_PER_PAGE = 20, 200


def render(error: InsulaError, request_id: str) -> Rendered:
    """The error's envelope."""
    of_class = next(_KINDS[one] for one in type(error).__mro__ if one in _KINDS)
    status, kind = _KINDS_OF_CODES.get(error.code, of_class)
    headers = {"content-type": "application/json; charset=utf-8"}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, ceil(error.retry_after_s)))
    body = {"id": kind, "message": str(error), "request_id": request_id}
    return status, msgspec.json.encode(body), headers


def _tell(count: Count) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-limit", b"%d" % count.limit),
        (b"ratelimit-remaining", b"%d" % count.remaining),
        (b"ratelimit-reset", b"%d" % int(count.reset_at_s)),
    ]


DIALECT = Dialect(Manners(render, _tell))


_T = TypeVar("_T")


def part(ask: Ask, items: Sequence[_T]) -> Sequence[_T]:
    """Those of a list that are on the page that was asked for."""
    number, size = _place(ask)
    return items[(number - 1) * size : number * size]


def page(ask: Ask, name: str, shown: Sequence[Any], total: int) -> Answer:
    """One page of a list of `total` items, with the ways to the others."""
    number, size = _place(ask)
    last = max(1, ceil(total / size))
    pages: dict[str, str] = {}
    if number > 1:
        pages |= {"first": _link(ask, 1, size), "prev": _link(ask, min(number - 1, last), size)}
    if number < last:
        pages |= {"next": _link(ask, number + 1, size), "last": _link(ask, last, size)}
    return Answer({name: shown, "links": {"pages": pages} if pages else {}, "meta": {"total": total}})


def _place(ask: Ask) -> tuple[int, int]:
    number = _whole(ask, "page", 1, 1_000_000)
    return number, _whole(ask, "per_page", _PER_PAGE, _MOST_PER_PAGE)


def when(moment: datetime) -> str:
    """As `2026-11-28T14:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _link(ask: Ask, number: int, size: int) -> str:
    given = {name: value for name, value in ask.query.items() if name not in {"page", "per_page"}}
    return f"{ask.url}?{urlencode({**given, 'page': number, 'per_page': size})}"


def _whole(ask: Ask, name: str, default: int, highest: int) -> int:
    text = ask.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) < 1:
        raise InvalidInput(
            f"{name} is no page's number or size", why=f"It is {text[:40]!r}", todo=f"Leave it out, or send {default}"
        )
    return min(int(text), highest)

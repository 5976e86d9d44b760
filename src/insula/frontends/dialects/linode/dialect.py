"""How this API speaks: its errors, its rate limit's headers, its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, TypeVar

import msgspec

from insula.base import errors
from insula.base.errors import InsulaError, InvalidInput, RateLimited
from insula.frontends.dialects.dialect import Answer, Ask, Dialect
from insula.frontends.dialects.linode.filters import filtered
from insula.frontends.edge import Manners, Rendered
from insula.frontends.limits import Count

_T = TypeVar("_T")

VERSIONS = ("/v4", "/v4beta")
# The first class of an error's ancestry that stands here decides.
_STATUS: Mapping[type[InsulaError], int] = {
    errors.InvalidInput: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 400,
    errors.CapacityExceeded: 400,
    errors.RateLimited: 429,
    errors.Cancelled: 400,
    errors.Unsupported: 400,
    errors.Unavailable: 503,
    errors.InsulaError: 500,
}
_PER_PAGE, _FEWEST_PER_PAGE, _MOST_PER_PAGE = 100, 25, 500


def render(error: InsulaError, request_id: str) -> Rendered:
    """The error's envelope: one entry for each wrong field."""
    status = next(_STATUS[one] for one in type(error).__mro__ if one in _STATUS)
    headers = {"content-type": "application/json"}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(max(1, ceil(error.retry_after_s)))
    return status, msgspec.json.encode({"errors": _reasons(error)}), headers


def _reasons(error: InsulaError) -> list[dict[str, str]]:
    """Clients compare a few of them word for word, as that of a path where there is nothing."""
    if len(error.fields) > 1:
        return [{"reason": text, "field": field} for field, text in error.fields.items()]
    if error.fields:
        return [{"reason": str(error), "field": field} for field in error.fields]
    if error.code == "unknown-path":
        return [{"reason": "Not found"}]
    if error.code == "unknown-record":
        return [{"reason": str(errors.NotFound("Not found", why=error.why, todo=error.todo))}]
    return [{"reason": str(error)}]


def _tell(count: Count) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % count.limit),
        (b"x-ratelimit-remaining", b"%d" % count.remaining),
        (b"x-ratelimit-reset", b"%d" % int(count.reset_at_s)),
    ]


DIALECT = Dialect(Manners(render, _tell), versions=VERSIONS)


def page(ask: Ask, shown: Sequence[Mapping[str, Any]]) -> Answer:
    """One page of what is left of a list by the filter of the request, in the order that it asks for."""
    return _page(ask, filtered(shown, ask.headers.get("x-filter", "")), list)


def page_of(ask: Ask, items: Sequence[_T], show: Callable[[Sequence[_T]], Sequence[Mapping[str, Any]]]) -> Answer:
    """The same, for long lists: without a filter, only what is on the page is shown."""
    if ask.headers.get("x-filter", ""):
        return page(ask, show(items))
    return _page(ask, items, show)


def _page(ask: Ask, found: Sequence[_T], show: Callable[[Sequence[_T]], Sequence[Mapping[str, Any]]]) -> Answer:
    number = _whole(ask, "page", 1, 1, 1_000_000)
    size = _whole(ask, "page_size", _PER_PAGE, _FEWEST_PER_PAGE, _MOST_PER_PAGE)
    pages = max(1, ceil(len(found) / size))
    if number > pages:
        raise errors.NotFound(f"There is no page {number}", why=f"There are {pages}", todo="Ask for one of them")
    part = found[(number - 1) * size : number * size]
    return Answer({"data": show(part), "page": number, "pages": pages, "results": len(found)})


def nothing() -> Answer:
    """What is answered where there is nothing to tell."""
    return Answer({})


def when(moment: datetime) -> str:
    """In UTC, as `2026-11-28T14:00:00`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _whole(ask: Ask, name: str, default: int, lowest: int, highest: int) -> int:
    text = ask.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 7 or not lowest <= int(text) <= highest:
        raise InvalidInput(
            f"{name} cannot be {text[:40]!r}",
            why=f"It is a number from {lowest} to {highest}",
            todo=f"Leave it out, or send {default}",
            fields={name: "out of bounds"},
        )
    return int(text)

"""A table as somebody wants to see it: searched, filtered, in an order, a hundred lines at a time.

All of that is in the address, so that it can be kept and shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from insula.frontends.panel.view import Column, Deed, Row

LINES = 100


@dataclass(frozen=True)
class Head:
    """A column's title, the address that sorts by it, and `ascending` or `descending` where it is sorted by."""

    title: str
    href: str
    sorted: str
    is_number: bool


@dataclass(frozen=True)
class Table:
    """`total` is how many there are at all, `found` how many fit; `rows` are those of this part."""

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    total: int
    found: int
    search: str
    state: str
    states: tuple[str, ...]
    sort: str
    before: str
    after: str
    first: int


def table_of(rows: Sequence[Row], columns: Sequence[Column], query: Mapping[str, str]) -> Table:
    """What `q`, `state`, `sort` (a column's number, behind a minus to turn it round) and `page` of an address show."""
    search, state, sort = query.get("q", "").strip(), query.get("state", ""), query.get("sort", "")
    states = tuple(sorted({row.state for row in rows} - {""}))
    found = [row for row in rows if _fits(row, search.lower()) and state in ("", row.state)]
    column = _number(sort.removeprefix("-"), len(columns))
    if column is not None:
        found.sort(key=lambda row: row.cells[column].rank, reverse=sort.startswith("-"))
    number = max(1, _number(query.get("page", ""), 1_000_000) or 1)
    begin = (number - 1) * LINES

    def address(**changes: str) -> str:
        given = {"q": search, "state": state, "sort": sort} | changes
        return "?" + urlencode({name: value for name, value in given.items() if value})

    heads = tuple(
        Head(
            each.title,
            address(sort=f"-{index}" if sort == str(index) else str(index)),
            _order(sort, index),
            each.is_number,
        )
        for index, each in enumerate(columns)
    )
    return Table(
        heads=heads,
        rows=tuple(found[begin : begin + LINES]),
        total=len(rows),
        found=len(found),
        search=search,
        state=state,
        states=states,
        sort=sort,
        before=address(page=str(number - 1)) if number > 1 else "",
        after=address(page=str(number + 1)) if begin + LINES < len(found) else "",
        first=begin + 1,
    )


def bulk_forms(deeds: Sequence[Deed]) -> tuple[Deed, ...]:
    """Harmless ones first."""
    return tuple(sorted(deeds, key=lambda deed: deed.is_danger))


def _fits(row: Row, search: str) -> bool:
    texts = (row.name, row.hint, *(cell.text for cell in row.cells))
    return all(any(word in text.lower() for text in texts) for word in search.split())


def _order(sort: str, index: int) -> str:
    return {str(index): "ascending", f"-{index}": "descending"}.get(sort, "")


def _number(text: str, below: int) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 and int(text) < below else None

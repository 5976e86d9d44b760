from __future__ import annotations

from insula.frontends.panel.table import LINES, table_of
from insula.frontends.panel.view import Cell, Column, Row, amount, link, state

COLUMNS = (Column("Name"), Column("State"), Column("Size"))


def _row(name: str, in_state: str = "running", size: float = 1) -> Row:
    return Row(name, name, (link(name, f"/{name}"), state(in_state), amount(f"{size} GiB", size)), hint=f"id_{name}")


ROWS = [_row("beta", size=10), _row("alpha", "stopped", 9), _row("gamma", size=100)]


def _names(**query: str) -> list[str]:
    return [row.name for row in table_of(ROWS, COLUMNS, query).rows]


def test_all_words_of_a_search_must_fit_somewhere() -> None:
    assert _names(q="al") == ["alpha"]
    assert _names(q="RUNNING gam") == ["gamma"]
    assert _names(q="id_beta") == ["beta"]
    assert _names(q="alpha beta") == []


def test_numbers_are_sorted_as_numbers_and_texts_as_texts() -> None:
    assert _names(sort="0") == ["alpha", "beta", "gamma"]
    assert _names(sort="-0") == ["gamma", "beta", "alpha"]
    assert _names(sort="2") == ["alpha", "beta", "gamma"]
    assert _names(sort="-2") == ["gamma", "beta", "alpha"]


def test_what_is_no_order_is_ignored() -> None:
    for sort in ("9", "-9", "x", "²", "--1", "99999999999"):
        assert _names(sort=sort) == ["beta", "alpha", "gamma"]


def test_states_are_those_that_there_are() -> None:
    table = table_of(ROWS, COLUMNS, {"state": "stopped"})
    assert table.states == ("running", "stopped")
    assert [row.name for row in table.rows] == ["alpha"]
    assert (table.total, table.found) == (3, 1)


def test_a_long_list_comes_in_parts_whose_addresses_keep_the_rest() -> None:
    rows = [_row(f"n{number:04}") for number in range(2 * LINES + 5)]
    first = table_of(rows, COLUMNS, {"q": "n0", "sort": "0"})
    assert (len(first.rows), first.first, first.before) == (LINES, 1, "")
    assert first.after == "?q=n0&sort=0&page=2"
    last = table_of(rows, COLUMNS, {"page": "3"})
    assert (len(last.rows), last.first, last.after) == (5, 2 * LINES + 1, "")
    assert table_of(rows, COLUMNS, {"page": "-1"}).first == 1


def test_a_cell_without_a_moment_is_sorted_by_its_text() -> None:
    assert Cell("B").rank > Cell("a").rank

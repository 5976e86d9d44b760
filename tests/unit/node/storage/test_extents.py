"""Changed parts of disks in whole pieces, compared with looking at every byte."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from insula.node.storage.extents import Change, Part, in_pieces

PIECE = 4
_LENGTHS = st.lists(st.tuples(st.integers(1, 11), st.sampled_from(Change)), max_size=12)


def side_by_side(lengths: list[tuple[int, Change]]) -> list[Part]:
    parts, at = [], 0
    for length, change in lengths:
        parts.append(Part(at, at + length, change))
        at += length
    return parts


def looked_at(parts: list[Part]) -> list[Change]:
    """What becomes of each piece."""
    kinds = [part.change for part in parts for _ in range(part.end - part.begin)]
    pieces = [set(kinds[at : at + PIECE]) for at in range(0, len(kinds), PIECE)]
    return [next(iter(found)) if len(found) == 1 else Change.DATA for found in pieces]


@given(_LENGTHS)
def test_each_piece_is_what_its_bytes_are(lengths: list[tuple[int, Change]]) -> None:
    parts = side_by_side(lengths)
    size = parts[-1].end if parts else 0
    expected = [
        (at * PIECE, min(size, (at + 1) * PIECE), change)
        for at, change in enumerate(looked_at(parts))
        if change is not Change.NONE
    ]
    found = list(in_pieces(parts, PIECE))
    single = [
        (at, min(part.end, at + PIECE), part.change) for part in found for at in range(part.begin, part.end, PIECE)
    ]
    assert single == expected


@given(_LENGTHS)
def test_what_touches_and_is_alike_is_one(lengths: list[tuple[int, Change]]) -> None:
    parts = side_by_side(lengths)
    runs = [change for change, _ in groupby(looked_at(parts)) if change is not Change.NONE]
    assert [part.change for part in in_pieces(parts, PIECE)] == runs

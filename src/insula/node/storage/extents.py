"""Which parts of a disk changed, in whole pieces of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum


class Change(IntEnum):
    """What became of a part; of two kinds in one piece the higher one holds."""

    NONE = 0
    ZERO = 1  # reads as zeros now
    DATA = 2


@dataclass(frozen=True)
class Part:
    """The bytes of a disk from `begin` to `end`."""

    begin: int
    end: int
    change: Change


def in_pieces(parts: Iterable[Part], piece_bytes: int) -> Iterator[Part]:
    """The changed parts made of whole pieces; the end of the disk may cut the last one short.

    `parts` lie side by side from 0 to the disk's end. Parts of the same kind that touch become one.
    """
    open_part: Part | None = None
    piece, kind, end = 0, Change.NONE, 0  # the piece that is not complete, and what is known of it
    for part in parts:
        end = part.end
        if part.begin > piece:  # it begins inside of a piece
            next_piece = (piece // piece_bytes + 1) * piece_bytes
            kind = _mixed(kind, part.change)
            if end < next_piece:
                continue
            open_part, done = _joined(open_part, Part(piece, next_piece, kind))
            yield from done
            piece, kind = next_piece, Change.NONE
        whole = end // piece_bytes * piece_bytes
        if whole > piece:
            open_part, done = _joined(open_part, Part(piece, whole, part.change))
            yield from done
            piece = whole
        kind = part.change
    if end > piece:
        open_part, done = _joined(open_part, Part(piece, end, kind))
        yield from done
    if open_part is not None and open_part.change is not Change.NONE:
        yield open_part


def _mixed(one: Change, other: Change) -> Change:
    """Zeros beside what did not change must be read: what did not change may be anything."""
    return one if one is other else Change.DATA


def _joined(before: Part | None, part: Part) -> tuple[Part, list[Part]]:
    """The two as one if they touch and are alike; else the later one, and the earlier one as done."""
    if before is None:
        return part, []
    if before.change is part.change and before.end == part.begin:
        return Part(before.begin, part.end, part.change), []
    return part, [before] if before.change is not Change.NONE else []

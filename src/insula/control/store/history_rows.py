"""What is known of those whose history is kept, in memory and in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from insula.control.store.history_schema import subject
from insula.domain.history import MEASURED_EVERY_S, Means, Metric, Seen, Stretch, both, cut

_MOST_PENDING = 360  # an hour of steps, while the file cannot be written
# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(Seen)


@dataclass
class Known:
    """One subject. `number` is its place in the file, None until it is there."""

    project: str
    number: int | None = None
    seen: Seen | None = None
    gone_at_s: float | None = None
    newest: Mapping[Metric, Stretch] = field(default_factory=dict)
    noted_at_s: float = -math.inf  # by the clock that never jumps


class Pending:
    """What was measured of a subject and is not in the file yet."""

    def __init__(self) -> None:
        self.buckets: dict[int, Means] = {}

    def add(self, fresh: Iterable[Stretch]) -> None:
        for stretch in fresh:
            for start, mean in cut(stretch, MEASURED_EVERY_S):
                self._put(start, {stretch.metric: mean})

    def add_all(self, other: Pending) -> None:
        for start, means in other.buckets.items():
            self._put(start, means)
        for start in sorted(self.buckets)[:-_MOST_PENDING]:
            del self.buckets[start]

    def _put(self, start: int, means: Means) -> None:
        self.buckets[start] = both(self.buckets[start], means) if start in self.buckets else means


def load(connection: Connection) -> dict[str, Known]:
    """All that are in the file, by their ids."""
    found = {}
    for row in connection.execute(subject.select()):
        try:
            seen = _DECODER.decode(row.seen)
        except msgspec.DecodeError:
            seen = None  # of a version that measured something else: its next reading is a first one
        found[row.id] = Known(row.project, row.number, seen, row.gone_at_s)
    return found


def remember(connection: Connection, known: Mapping[str, Known]) -> Mapping[str, int]:
    """Write down what their counters showed last; who is new gets a place in the file. Returns all places."""
    numbers, changes = {}, []
    for name, one in known.items():
        seen = msgspec.json.encode(one.seen).decode()
        if one.number is None:
            row = {"id": name, "project": one.project, "seen": seen}
            numbers[name] = int(connection.execute(subject.insert().values(row)).lastrowid)
        else:
            numbers[name] = one.number
            changes.append({"place": one.number, "seen": seen, "gone_at_s": None})
    if changes:
        connection.execute(subject.update().where(subject.c.number == bindparam("place")), changes)
    return numbers

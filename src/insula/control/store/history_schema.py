"""The tables of measured history, which are in a file of their own. See docs/adr/0020-history-is-not-state.md."""

from __future__ import annotations

import math
import struct

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text

from insula.domain.history import Mean, Means, Metric

# Of what is in the file. One of another version is set aside: nothing in it is worth a migration.
VERSION = 1

metadata = MetaData()

# `seen` is what counters showed last, as JSON, so that a moment without the service leaves no gap.
subject = Table(
    "subject",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(80), nullable=False, unique=True),
    Column("project", String(63), nullable=False),
    Column("seen", Text, nullable=False),
    Column("gone_at_s", Float),
)

# A row is one step of one subject: for each metric a mean, the highest of its parts, and how long was measured.
bucket = Table(
    "bucket",
    metadata,
    Column("step_s", Integer, primary_key=True),
    Column("subject", Integer, primary_key=True),
    Column("start_s", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

_NOTHING = (math.nan, math.nan, 0.0)
_METRICS = tuple(Metric)
_WORD = struct.Struct("<3f")


def packed(means: Means) -> bytes:
    """As many metrics as there are up to the last one that was measured; single precision is plenty."""
    last = max(place for place, metric in enumerate(_METRICS) if metric in means)
    rows = (means.get(metric) for metric in _METRICS[: last + 1])
    return b"".join(_WORD.pack(*(_NOTHING if one is None else (one.avg, one.max, one.seconds))) for one in rows)


def unpacked(data: bytes) -> Means:
    found = {}
    for metric, (avg, highest, seconds) in zip(_METRICS, _WORD.iter_unpack(data), strict=False):
        if seconds > 0:
            found[metric] = Mean(avg, highest, seconds)
    return found

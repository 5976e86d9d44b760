"""Aliases: what clients of other vendors' APIs know a record by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Alias:
    """`record` is an id of ours, or the name of what has none, as `image:debian-12`. Its `number` is its own for ever.

    `facts` are texts that came with the record and that it has no place for, as a name that is none of ours.
    """

    number: int
    record: str
    facts: Mapping[str, str] = field(default_factory=dict)

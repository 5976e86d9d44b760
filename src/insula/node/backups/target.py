"""Where backups are kept: a place elsewhere that stores whole objects under names. One class per kind of place.

Names are lower-case ASCII words with digits, `-` and `.`, separated by `/`. Every method may be repeated. Errors that
may pass by themselves are :class:`Unavailable`; all others are permanent: NotFound, Forbidden, DiskFull, HostFailure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stored:
    """An object: its name, its size and when it was written last, in Unix seconds by the target's own clock."""

    name: str
    size_bytes: int
    modified_at_s: float


class Target(Protocol):
    """A place for objects. Objects are whole or absent, also when the writer is killed; what `put` ended is durable."""

    async def put(self, name: str, data: bytes) -> None:
        """Store an object, in place of one that has the name."""
        ...

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset`, by default all; less when the object ends before. Raises NotFound."""
        ...

    def list(self, prefix: str) -> AsyncIterator[Stored]:
        """All objects whose names begin with `prefix` (whole words, ending in `/`), in no order."""
        ...

    async def delete(self, name: str) -> None:
        """Remove an object; nothing happens when there is none."""
        ...

    async def remove_drafts(self, before_s: float) -> None:
        """Remove what writers who were killed began and did not touch since that time, by the target's own clock."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

"""The index: in which pack each chunk is. Stored in objects that only ever are added, and replaced by a prune."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from insula.base.errors import DataCorrupt, InsulaError, NotFound
from insula.node.backups.pack import Entry, Pack, Place, decode_entries, encode_entries
from insula.node.backups.sealing import Sealer
from insula.node.backups.target import Target

INDEXES = "index/"
_PART = b"part of an index"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class PackFacts:
    """A pack as the index knows it."""

    name: str
    size_bytes: int
    entries: tuple[Entry, ...]


class _Part(msgspec.Struct):
    """One object: packs with their sizes and tables."""

    packs: list[tuple[str, int, bytes]]


@dataclass
class Index:
    """What is known of all packs. `parts` are the objects that it was read from, `damaged` those that could not be."""

    packs: dict[str, PackFacts] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    damaged: dict[str, InsulaError] = field(default_factory=dict)
    _places: dict[bytes, Place] = field(default_factory=dict)

    def find(self, chunk_id: bytes) -> Place | None:
        return self._places.get(chunk_id)

    def __contains__(self, chunk_id: bytes) -> bool:
        return chunk_id in self._places

    def add(self, facts: PackFacts) -> None:
        self.packs[facts.name] = facts
        for entry in facts.entries:
            self._places.setdefault(entry.id, Place(facts.name, entry.offset, entry.length))

    def ids(self) -> Iterator[bytes]:
        yield from self._places


def facts_of(pack: Pack) -> PackFacts:
    return PackFacts(pack.name, len(pack.data), pack.entries)


async def read_index(target: Target, sealer: Sealer) -> Index:
    """All that is stored of it; parts that are damaged are named in it, and what only they knew is not."""
    index = Index()
    for name in sorted([stored.name async for stored in target.list(INDEXES)]):
        try:
            part = _decode(sealer.open(_PART, await target.get(name), at_most=_MOST_BYTES))
        except NotFound:  # a prune has just replaced it
            continue
        except DataCorrupt as error:
            index.damaged[name] = error
            continue
        for facts in part:
            index.add(facts)
        index.parts.add(name)
    return index


async def write_part(target: Target, sealer: Sealer, packs: Iterable[PackFacts]) -> str:
    """Store what is known of some packs; the name of the new object."""
    rows = [(facts.name, facts.size_bytes, encode_entries(facts.entries)) for facts in packs]
    name = f"{INDEXES}{secrets.token_hex(16)}"
    await target.put(name, sealer.seal(_PART, msgspec.msgpack.encode(_Part(rows))))
    return name


def _decode(data: bytes) -> list[PackFacts]:
    try:
        part = msgspec.msgpack.decode(data, type=_Part)
    except (msgspec.DecodeError, ValueError) as error:
        raise DataCorrupt("A part of the index is damaged", why=str(error), code="backup-damaged") from error
    return [PackFacts(name, size, decode_entries(table)) for name, size, table in part.packs]

"""Packs: sealed chunks one after the other in objects of some 16 MiB, since most targets are slow with small ones.

A pack's name is the SHA-256 of its bytes, so that anybody can tell a damaged one. It ends with a sealed table of its
chunks and the table's length in four bytes: with the key, an index can be made anew from the packs alone.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from insula.base.errors import DataCorrupt
from insula.node.backups.sealing import CHUNK_BYTES, ID_BYTES, Sealer

PACK_BYTES = 16 << 20
PACKS = "packs/"

_TABLE = b"table of a pack"
_ENTRY = struct.Struct(f">{ID_BYTES}sII")
_LENGTH = struct.Struct(">I")
_MOST_CHUNKS = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where a chunk is: bytes `offset` to `offset + length` of a pack."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True)
class Entry:
    """A chunk in a pack's table."""

    id: bytes
    offset: int
    length: int


@dataclass(frozen=True)
class Pack:
    """A finished pack."""

    name: str
    data: bytes
    entries: tuple[Entry, ...]


class PackBuilder:
    """Collects sealed chunks."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._parts: list[bytes] = []
        self._entries: list[Entry] = []
        self.size_bytes = 0

    def add(self, chunk_id: bytes, sealed: bytes) -> None:
        self._entries.append(Entry(chunk_id, self.size_bytes, len(sealed)))
        self._parts.append(sealed)
        self.size_bytes += len(sealed)

    def finish(self) -> Pack:
        table = encode_entries(self._entries)
        sealed = self._sealer.seal(_TABLE, table)
        data = b"".join((*self._parts, sealed, _LENGTH.pack(len(sealed))))
        return Pack(name_of(data), data, tuple(self._entries))


def name_of(data: bytes) -> str:
    """What a pack of this content is called."""
    return hashlib.sha256(data).hexdigest()


def object_of(pack: str) -> str:
    """The name of a pack's object."""
    return f"{PACKS}{pack[:2]}/{pack}"


def read_table(sealer: Sealer, data: bytes) -> tuple[Entry, ...]:
    """The chunks of a pack. Raises DataCorrupt."""
    (length,) = _LENGTH.unpack(data[-_LENGTH.size :].rjust(_LENGTH.size, b"\0"))
    sealed = data[-_LENGTH.size - length : -_LENGTH.size]
    return decode_entries(sealer.open(_TABLE, sealed, at_most=_MOST_CHUNKS * _ENTRY.size))


def whole(sealer: Sealer, entries: Iterable[Entry], data: bytes) -> tuple[Entry, ...]:
    """Those of a damaged pack's chunks that can still be read."""
    return tuple(entry for entry in entries if _opens(sealer, entry, data))


def _opens(sealer: Sealer, entry: Entry, data: bytes) -> bool:
    try:
        sealer.open(entry.id, data[entry.offset : entry.offset + entry.length], at_most=CHUNK_BYTES)
    except DataCorrupt:
        return False
    return True


def encode_entries(entries: Sequence[Entry]) -> bytes:
    return b"".join(_ENTRY.pack(entry.id, entry.offset, entry.length) for entry in entries)


def decode_entries(table: bytes) -> tuple[Entry, ...]:
    """Raises DataCorrupt."""
    if len(table) % _ENTRY.size:
        raise DataCorrupt("A table of chunks is damaged", why=f"It has {len(table)} bytes", code="backup-damaged")
    return tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(table))

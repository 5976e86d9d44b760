"""Writes qcow2 headers, right ones and wrong ones, for the tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAGIC = 0x514649FB


@dataclass
class Qcow2:
    """A version 3 header with everything that a test may want to bend."""

    magic: int = MAGIC
    version: int = 3
    backing_file: bytes = b""
    cluster_bits: int = 16
    size: int = 1 << 30
    crypt: int = 0
    l1_entries: int | None = None
    l1_offset: int = 3 << 16
    refcount_offset: int = 1 << 16
    incompatible: int = 0
    header_length: int = 104
    extensions: list[tuple[int, bytes]] = field(default_factory=list)

    def head(self) -> bytes:
        """The header, its extensions and the backing file's name."""
        extensions = b"".join(
            struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8) for kind, data in self.extensions
        )
        extensions += struct.pack(">II", 0, 0)
        backing_at = self.header_length + len(extensions) if self.backing_file else 0
        entries = -(-self.size // (1 << 29)) if self.l1_entries is None else self.l1_entries
        fixed = struct.pack(
            ">IIQIIQIIQQIIQ",
            *(self.magic, self.version, backing_at, len(self.backing_file), self.cluster_bits, self.size, self.crypt),
            *(entries, self.l1_offset, self.refcount_offset, 1, 0, 0),
        )
        later = struct.pack(">QQQII", self.incompatible, 0, 0, 4, self.header_length)
        return (fixed + later).ljust(self.header_length, b"\0") + extensions + self.backing_file

    def file(self) -> bytes:
        """The header in a file of four clusters."""
        return self.head().ljust(4 << 16, b"\0")

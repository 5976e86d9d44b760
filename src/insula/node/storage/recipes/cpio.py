"""Writes the archive that a kernel unpacks as its first root (`newc`, see the kernel's
`Documentation/driver-api/early-userspace/buffer-format.rst`)."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """A file, folder, symbolic link (`data` is where it points) or character device; owned by root, from 1970."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> Entry:
    return Entry(path, stat.S_IFDIR | 0o755)


def file(path: str, data: bytes, *, executable: bool = False) -> Entry:
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int) -> Entry:
    return Entry(path, stat.S_IFCHR | 0o600, device=(major, minor))


def write(out: BinaryIO, entries: Iterable[Entry]) -> None:
    """Write the archive; the same entries give the same bytes."""
    for number, entry in enumerate(entries, start=1):
        _write_entry(out, entry, number)
    _write_entry(out, Entry(_TRAILER, 0), 0)


def _write_entry(out: BinaryIO, entry: Entry, inode: int) -> None:
    name = entry.path.encode() + b"\0"
    links = 0 if entry.path == _TRAILER else 1
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    out.write(_padded(header + name))
    out.write(_padded(entry.data))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)

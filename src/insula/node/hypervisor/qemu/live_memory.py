"""The guest memory of a running machine, seen from outside: a copy of it is compared with it, and mended.

QEMU keeps the memory private to its process. Who may trace that process can read it all the same: root, and the
ordinary user who made the user namespace that QEMU is confined in. Most of it need not be read, since the kernel tells
which pages are still those of the template's file.
Source: proc_pid_maps(5), proc_pid_mem(5), proc_pid_pagemap(5), ptrace(2) "Ptrace access mode checking".
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PAGE_BYTES = 4096
_PIECE_BYTES = 16 << 20  # whose pages are looked up and compared in one go
_MOST_THREADS = 4  # while a guest stands still, at least its own processors are free
_BLOCK_BYTES = 128 << 10  # small enough to stay in a processor's cache
_ENTRY_BYTES = 8
# Bits 61 to 63 of a page's entry, as they stand in its last byte.
_OF_FILE, _SWAPPED, _PRESENT = 0x20, 0x40, 0x80
_KINDS = bytes(ord("f" if byte & _OF_FILE else "o" if byte & (_SWAPPED | _PRESENT) else "-") for byte in range(1 << 8))
# To read some of a file's in between is faster than to begin anew behind them.
_RUNS = re.compile(b"o+(?:f{1,16}o+)*|-+")


class UnreadableError(Exception):
    """The memory cannot be read from outside: the message says why."""


@dataclass(frozen=True)
class LiveMemory:
    """The `size_bytes` of memory at `address` in a process. Get one from :func:`live_memory`."""

    address: int
    size_bytes: int
    memory: int  # descriptors of /proc/PID/mem and pagemap, which never mean a later process of the same number
    pages: int

    def mend(self, copy: int) -> int:
        """Change the file `copy` wherever it is not what the memory is; returns how many pages differed.

        The machine stands still. May be repeated. Blocking: call it from a thread. Raises UnreadableError when the
        process ends meanwhile, and OSError.
        """
        # Threads help, for nearly all of the time goes into reading.
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "mend") as pool:
            return sum(pool.map(partial(self._mend_piece, copy), range(0, self.size_bytes, _PIECE_BYTES)))

    def _mend_piece(self, copy: int, piece: int) -> int:
        return sum(self._mend_part(copy, begin, end) for begin, end in self._suspects(copy, piece))

    def _suspects(self, copy: int, piece: int) -> Iterator[tuple[int, int]]:
        """The parts that may differ, as (begin, end): the machine's own pages, and none where the copy has content."""
        kinds = self._kinds(piece, min(_PIECE_BYTES, self.size_bytes - piece))
        for run in _RUNS.finditer(kinds):
            begin, end = (piece + place * PAGE_BYTES for place in run.span())
            if kinds[run.start() : run.start() + 1] == b"o" or _has_content(copy, begin, end):
                yield begin, end

    def _kinds(self, begin: int, size_bytes: int) -> bytes:
        """A letter for each page: `f` of a mapped file, `o` the machine's own, `-` none."""
        entries = bytearray(size_bytes // PAGE_BYTES * _ENTRY_BYTES)
        _read(self.pages, entries, (self.address + begin) // PAGE_BYTES * _ENTRY_BYTES)
        return bytes(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]).translate(_KINDS)

    def _mend_part(self, copy: int, begin: int, end: int) -> int:
        differing = 0
        is_now, was_copied = bytearray(_BLOCK_BYTES), bytearray(_BLOCK_BYTES)
        for place in range(begin, end, _BLOCK_BYTES):
            if end - place < _BLOCK_BYTES:
                is_now, was_copied = bytearray(end - place), bytearray(end - place)
            _read(self.memory, is_now, self.address + place)
            _read(copy, was_copied, place)
            if is_now != was_copied:
                differing += _write_differing(copy, place, is_now, was_copied)
        return differing


@contextlib.contextmanager
def live_memory(pid: int, address: int, size_bytes: int) -> Iterator[LiveMemory]:
    """The memory at `address` in a process, if all of that is private and may be read. Raises UnreadableError."""
    with contextlib.ExitStack() as files:
        try:
            _require_private(pid, address, address + size_bytes)
            memory, pages = (
                files.enter_context(Path(f"/proc/{pid}/{name}").open("rb", 0)).fileno() for name in ("mem", "pagemap")
            )
        except OSError as error:
            raise UnreadableError(f"{error.filename}: {error.strerror}") from error
        yield LiveMemory(address, size_bytes, memory, pages)


def _require_private(pid: int, begin: int, end: int) -> None:
    """Raise UnreadableError unless all between is mapped as memory that the process does not share."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, _ = line.split(maxsplit=2)
        low, high = (int(number, 16) for number in place.split("-"))
        if low <= begin < min(high, end):
            if rights != "rw-p":
                raise UnreadableError(f"the mapping at {begin:#x} has the rights {rights}")
            begin = min(high, end)
    if begin < end:
        raise UnreadableError(f"nothing is mapped at {begin:#x}")


def _has_content(copy: int, begin: int, end: int) -> bool:
    try:
        return os.lseek(copy, begin, os.SEEK_DATA) < end
    except OSError:  # ENXIO: only a hole follows
        return False


def _read(descriptor: int, buffer: bytearray, place: int) -> None:
    if os.preadv(descriptor, [buffer], place) != len(buffer):
        raise UnreadableError("the process has ended")


def _write_differing(copy: int, place: int, is_now: bytearray, was_copied: bytearray) -> int:
    """Write the pages of one block that differ; returns how many."""
    differing = 0
    for begin in range(0, len(is_now), PAGE_BYTES):
        page = is_now[begin : begin + PAGE_BYTES]
        if page != was_copied[begin : begin + PAGE_BYTES]:
            os.pwrite(copy, page, place + begin)
            differing += 1
    return differing

"""Splits what QEMU writes when it migrates: the guest's memory goes into shared memory, all else to a devices file.

A program of its own (`memory_stream.py STREAM DEVICES MEMORY BYTES`, the first three are inherited descriptors), since
the sender is a machine that its guest may have taken over. Whatever is not exactly as expected ends it with status 1.
Memory is sent in rounds, so a page may come many times; the last one holds. What is left for the devices file is a
stream that QEMU reads with the capability `x-ignore-shared`, whose memory it finds in place.
Source: QEMU docs/devel/migration.rst, migration/savevm.c, migration/ram.c (stream version 3).
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

READS, HAS_MEMORY = "reading", "has all memory"  # what it says, for the sender waits for that
PAGE_BYTES = 4096
MOST_DEVICES_BYTES = 64 << 20
_MEMORY_NAMES = frozenset({b"pc.ram", b"microvm.ram"})
_MOST_BLOCKS = 256
_MOST_TEXT_BYTES = 4096
_MOST_CAPABILITIES = 64

_MAGIC = b"QEVM\x00\x00\x00\x03"
_START, _PART, _END, _SUBSECTION, _CONFIGURATION, _FOOTER = 0x01, 0x02, 0x03, 0x05, 0x07, 0x7E
_FLAGS = PAGE_BYTES - 1
_ZERO, _SIZES, _PAGE, _OVER, _SAME_BLOCK = 0x02, 0x04, 0x08, 0x10, 0x20
_PIECE_BYTES = 1 << 20
# Nearly all of a stream are such runs. Each of their pages begins with its address, whose lowest twelve bits are flags.
_ADDRESS = b".{6}[" + b"".join(b"\\x%x0" % digit for digit in range(16)) + b"]"
_ZERO_RUN = re.compile(b"(?s:%b\\x%02x\\0)+" % (_ADDRESS, _ZERO | _SAME_BLOCK))
_PAGE_RUN = re.compile(b"(?s:%b\\x%02x.{%d})+" % (_ADDRESS, _PAGE | _SAME_BLOCK, PAGE_BYTES))
_ZERO_PAGE = struct.Struct(">Qx")
_WORD_BYTES = 8


class BadStreamError(Exception):
    """The stream is not what QEMU writes: the message says where."""


@dataclass
class Splitter:
    """One stream. `memory` has the size of the guest's memory and holds zeros."""

    stream: BinaryIO
    devices: BinaryIO
    memory: mmap.mmap | bytearray
    say: Callable[[str], None]
    pages: int = 0  # how many had content, each time that it was sent
    _passed_bytes: int = 0
    _sizes: dict[bytes, int] = field(default_factory=dict)
    _block: bytes = b""
    _ahead: bytes = b""  # has been read from the stream and is looked at from `_place` on
    _place: int = 0

    def __post_init__(self) -> None:
        self._is_filled = bytearray(len(self.memory) // PAGE_BYTES)

    def run(self) -> None:
        """Read it to its end. Raises :class:`BadStreamError`."""
        if self._pass(8) != _MAGIC:
            raise BadStreamError("it does not begin like one")
        memory_id = self._begin()
        kind = _START
        while True:
            self._memory_section()
            if self._pass(1)[0] != _FOOTER or self._pass(4) != memory_id:
                raise BadStreamError("a section of memory does not end as it began")
            if kind == _END:
                break
            kind = self._pass(1)[0]
            if kind not in (_PART, _END) or self._pass(4) != memory_id:
                raise BadStreamError(f"a section of kind {kind:#x} stands between those of memory")
        self.say(HAS_MEMORY)
        self._write(self._ahead[self._place :])
        while piece := self.stream.read(_PIECE_BYTES):
            self._write(piece)

    def _begin(self) -> bytes:
        """Up to the memory's first section; returns the number that it is told by."""
        while True:
            kind = self._pass(1)[0]
            if kind == _CONFIGURATION:
                self._pass(self._number(_MOST_TEXT_BYTES, "a machine's name"))
            elif kind == _SUBSECTION:
                self._capabilities()
            elif kind == _START:
                memory_id = self._pass(4)
                if self._text() != b"ram":
                    raise BadStreamError("its first section is not memory")
                self._pass(8)  # instance and version
                return memory_id
            else:
                raise BadStreamError(f"a section of kind {kind:#x} stands before memory")

    def _capabilities(self) -> None:
        name = self._text()
        if name != b"configuration/capabilities":
            raise BadStreamError(f"its configuration has {name[:80]!r}")
        self._pass(4)
        for _ in range(self._number(_MOST_CAPABILITIES, "capabilities")):
            self._text()

    def _memory_section(self) -> None:
        while True:
            if self._block in _MEMORY_NAMES:
                self._zero_run()
                self._page_run()
            head = self._read(_WORD_BYTES)
            word = int.from_bytes(head, "big")
            flags, address = word & _FLAGS, word & ~_FLAGS
            if flags == _OVER:
                self._write(head)
                return
            if flags == _SIZES:
                self._write(head)
                self._block_sizes(address)
            elif flags & ~_SAME_BLOCK in (_ZERO, _PAGE):
                self._page(head, flags, address)
            else:
                raise BadStreamError(f"memory is sent with flags {flags:#x}")

    def _block_sizes(self, total_bytes: int) -> None:
        for _ in range(_MOST_BLOCKS):
            if sum(self._sizes.values()) >= total_bytes:
                break
            name = self._text()
            self._sizes[name] = int.from_bytes(self._pass(8), "big")
            self._pass(8)  # its guest-physical address
        guests = [size for name, size in self._sizes.items() if name in _MEMORY_NAMES]
        if sum(self._sizes.values()) != total_bytes or guests != [len(self.memory)]:
            raise BadStreamError("its blocks of memory have other sizes than the machine")

    def _page(self, head: bytes, flags: int, address: int) -> None:
        if not flags & _SAME_BLOCK:
            length = self._read(1)
            self._block = self._read(length[0])
            head += length + self._block
        self._require_inside(address)
        content = self._read(PAGE_BYTES if flags & _PAGE else 1)
        if self._block not in _MEMORY_NAMES:
            self._write(head + content)
            return
        if flags & _PAGE:
            self._fill(address, content)
        elif content == b"\0":
            self._clear(address)
        else:
            raise BadStreamError("a page of equal bytes is not of zeros")

    def _zero_run(self) -> None:
        """Pages of zeros, as many as are at hand, which may be none."""
        if run := _ZERO_RUN.match(self._ahead, self._place):
            self._place = run.end()
            for (word,) in _ZERO_PAGE.iter_unpack(run[0]):
                self._clear(word & ~_FLAGS)

    def _page_run(self) -> None:
        """Pages with content, as many as are at hand, which may be none."""
        if run := _PAGE_RUN.match(self._ahead, self._place):
            self._place = run.end()
            with memoryview(self._ahead) as ahead:
                for begin in range(run.start(), run.end(), _WORD_BYTES + PAGE_BYTES):
                    content = begin + _WORD_BYTES
                    word = int.from_bytes(ahead[begin:content], "big")
                    self._fill(word & ~_FLAGS, ahead[content : content + PAGE_BYTES])

    def _fill(self, address: int, content: bytes | memoryview) -> None:
        self._require_inside(address)
        self.pages += 1
        self._is_filled[address // PAGE_BYTES] = 1
        self.memory[address : address + PAGE_BYTES] = content

    def _clear(self, address: int) -> None:
        self._require_inside(address)
        # Memory is zeros from the start, and takes no room where nothing is written.
        if self._is_filled[address // PAGE_BYTES]:
            self.memory[address : address + PAGE_BYTES] = bytes(PAGE_BYTES)

    def _require_inside(self, address: int) -> None:
        if address >= self._sizes.get(self._block, 0):
            raise BadStreamError(f"page {address:#x} lies outside of {self._block[:80]!r}")

    def _text(self) -> bytes:
        return self._pass(self._pass(1)[0])

    def _number(self, most: int, what: str) -> int:
        number = int.from_bytes(self._pass(4), "big")
        if number > most:
            raise BadStreamError(f"{number} is too many for {what}")
        return number

    def _pass(self, count: int) -> bytes:
        data = self._read(count)
        self._write(data)
        return data

    def _read(self, count: int) -> bytes:
        if len(self._ahead) - self._place < count:
            self._read_ahead(count)
        data = self._ahead[self._place : self._place + count]
        self._place += count
        return data

    def _read_ahead(self, count: int) -> None:
        self._ahead, self._place = self._ahead[self._place :], 0
        while len(self._ahead) < count:
            piece = self.stream.read(_PIECE_BYTES)
            if not piece:
                raise BadStreamError("it ends too early")
            self._ahead += piece

    def _write(self, data: bytes) -> None:
        self._passed_bytes += len(data)
        if self._passed_bytes > MOST_DEVICES_BYTES:
            raise BadStreamError(f"its devices have more than {MOST_DEVICES_BYTES >> 20} MiB")
        self.devices.write(data)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    stream_fd, devices_fd, memory_fd, size_bytes = (int(text) for text in arguments)
    try:
        with (
            os.fdopen(stream_fd, "rb", buffering=0) as stream,
            os.fdopen(devices_fd, "wb", buffering=1 << 20) as devices,
            mmap.mmap(memory_fd, size_bytes) as memory,
        ):
            _say(READS)
            splitter = Splitter(stream, devices, memory, _say)
            splitter.run()
    except BadStreamError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{splitter.pages}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

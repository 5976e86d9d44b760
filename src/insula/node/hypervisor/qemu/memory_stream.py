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
import sys
from dataclasses import dataclass, field
from typing import BinaryIO

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


class BadStreamError(Exception):
    """The stream is not what QEMU writes: the message says where."""


@dataclass
class Splitter:
    """One stream. `memory` has the size of the guest's memory and holds zeros."""

    stream: BinaryIO
    devices: BinaryIO
    memory: mmap.mmap | bytearray
    pages: int = 0  # how many had content, each time that it was sent
    _passed_bytes: int = 0
    _sizes: dict[bytes, int] = field(default_factory=dict)
    _block: bytes = b""

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
        while piece := self.stream.read(1 << 20):
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
            head = self._read(8)
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
        if address >= self._sizes.get(self._block, 0):
            raise BadStreamError(f"page {address:#x} lies outside of {self._block[:80]!r}")
        content = self._read(PAGE_BYTES if flags & _PAGE else 1)
        if self._block not in _MEMORY_NAMES:
            self._write(head + content)
            return
        place = address // PAGE_BYTES
        if flags & _PAGE:
            self.pages += 1
            self._is_filled[place] = 1
            self.memory[address : address + PAGE_BYTES] = content
        elif content != b"\0":
            raise BadStreamError("a page of equal bytes is not of zeros")
        elif self._is_filled[place]:  # memory is zeros from the start, and takes no room where nothing is written
            self.memory[address : address + PAGE_BYTES] = bytes(PAGE_BYTES)

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
        data = self.stream.read(count)
        if len(data) != count:
            raise BadStreamError("it ends too early")
        return data

    def _write(self, data: bytes) -> None:
        self._passed_bytes += len(data)
        if self._passed_bytes > MOST_DEVICES_BYTES:
            raise BadStreamError(f"its devices have more than {MOST_DEVICES_BYTES >> 20} MiB")
        self.devices.write(data)


def main(arguments: list[str]) -> int:
    stream_fd, devices_fd, memory_fd, size_bytes = (int(text) for text in arguments)
    try:
        with (
            os.fdopen(stream_fd, "rb", buffering=1 << 20) as stream,
            os.fdopen(devices_fd, "wb", buffering=1 << 20) as devices,
            mmap.mmap(memory_fd, size_bytes) as memory,
        ):
            sys.stderr.write("reading\n")  # the sender waits for that
            sys.stderr.flush()
            splitter = Splitter(stream, devices, memory)
            splitter.run()
    except BadStreamError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{splitter.pages}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

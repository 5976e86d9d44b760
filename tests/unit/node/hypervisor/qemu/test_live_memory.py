"""Memory read from outside: our own, of which a copy is mended."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

import pytest

from insula.node.hypervisor.qemu.live_memory import PAGE_BYTES, UnreadableError, live_memory
from insula.node.runtime import shared_memory

PAGES = 100
SIZE = PAGES * PAGE_BYTES
_ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def page(letter: bytes) -> bytes:
    return letter * PAGE_BYTES


def write(memory: mmap.mmap, number: int, letter: bytes) -> None:
    memory[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page(letter)


def mended(memory: mmap.mmap, copy: int) -> int:
    with live_memory(os.getpid(), address_of(memory), SIZE) as live:
        return live.mend(copy)


@pytest.fixture
def copy() -> Iterator[int]:
    descriptor = shared_memory.make("copy", SIZE)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def template() -> Iterator[int]:
    descriptor = shared_memory.make("template", SIZE)
    os.pwrite(descriptor, b"".join(page(b"%c" % (65 + number % 26)) for number in range(PAGES)), 0)
    yield descriptor
    os.close(descriptor)


def test_what_was_copied_too_early_is_mended(copy: int) -> None:
    memory = mmap.mmap(-1, SIZE, flags=_ANONYMOUS)
    for number in (0, 1, 40, 99):
        write(memory, number, b"a")
    os.pwrite(copy, page(b"a"), 40 * PAGE_BYTES)
    assert mended(memory, copy) == 3
    assert os.pread(copy, SIZE, 0) == memory[:]
    assert mended(memory, copy) == 0


def test_what_was_given_back_is_zeros(copy: int) -> None:
    memory = mmap.mmap(-1, SIZE, flags=_ANONYMOUS)
    write(memory, 3, b"a")
    os.pwrite(copy, page(b"a"), 3 * PAGE_BYTES)
    os.pwrite(copy, page(b"b"), 70 * PAGE_BYTES)
    assert mended(memory, copy) == 1
    assert os.pread(copy, SIZE, 0) == memory[:]


def test_nothing_is_written_where_both_are_empty(copy: int) -> None:
    memory = mmap.mmap(-1, SIZE, flags=_ANONYMOUS)
    assert memory[:] == bytes(SIZE)  # read, so that the kernel maps its page of zeros
    assert mended(memory, copy) == 0
    assert os.fstat(copy).st_blocks == 0


def test_what_went_on_from_a_template_is_compared_where_it_was_changed(copy: int, template: int) -> None:
    os.pwrite(copy, os.pread(template, SIZE, 0), 0)
    memory = mmap.mmap(template, SIZE, flags=mmap.MAP_PRIVATE)
    assert memory[5 * PAGE_BYTES] == ord("F")
    for number in (0, 7, 12, 13, 60, 99):
        write(memory, number, b"x")
    assert mended(memory, copy) == 6
    assert os.pread(copy, SIZE, 0) == memory[:]


def test_memory_of_several_mappings_side_by_side_is_one(copy: int) -> None:
    memory = mmap.mmap(-1, SIZE, flags=_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTFORK, 0, 16 * PAGE_BYTES)
    write(memory, 15, b"a")
    write(memory, 16, b"b")
    assert mended(memory, copy) == 2
    assert os.pread(copy, SIZE, 0) == memory[:]


def test_shared_memory_is_refused(template: int) -> None:
    memory = mmap.mmap(template, SIZE)
    with pytest.raises(UnreadableError, match="rw-s"), live_memory(os.getpid(), address_of(memory), SIZE):
        pass


def test_memory_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnreadableError, match="nothing is mapped"), live_memory(os.getpid(), PAGE_BYTES, SIZE):
        pass


def test_a_process_that_is_gone_is_refused() -> None:
    no_pid = 1 << 30  # more than the kernel gives
    with pytest.raises(UnreadableError, match="No such"), live_memory(no_pid, 0, SIZE):
        pass

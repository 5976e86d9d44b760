"""Memory that is sealed, stored and loaded again."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt
from insula.node.runtime import shared_memory

_MIB = 1 << 20


def test_sealed_memory_can_be_copied_but_not_changed() -> None:
    memory = shared_memory.make("guest", _MIB)
    os.pwrite(memory, b"secret", 4096)
    assert not shared_memory.is_sealed(memory)
    shared_memory.seal(memory)
    assert shared_memory.is_sealed(memory)
    with pytest.raises(PermissionError):
        os.pwrite(memory, b"poison", 4096)
    with pytest.raises(PermissionError):
        mmap.mmap(memory, _MIB, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    with mmap.mmap(memory, _MIB, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as own:
        own[4096:4102] = b"change"
    assert os.pread(memory, 6, 4096) == b"secret"
    os.close(memory)


def test_it_cannot_be_sealed_while_a_machine_writes() -> None:
    memory = shared_memory.make("guest", _MIB)
    with mmap.mmap(memory, _MIB), pytest.raises(OSError, match="busy"):
        shared_memory.seal(memory)
    os.close(memory)


def test_stored_memory_comes_back_with_its_holes(tmp_path: Path) -> None:
    memory = shared_memory.make("guest", 64 * _MIB)
    os.pwrite(memory, b"begin", 0)
    os.pwrite(memory, b"end", 64 * _MIB - 3)
    shared_memory.store(memory, tmp_path / "memory")
    assert (tmp_path / "memory").stat().st_blocks * 512 < _MIB
    again = shared_memory.load("guest", tmp_path / "memory", 64 * _MIB)
    assert shared_memory.is_sealed(again)
    assert os.pread(again, 5, 0) == b"begin"
    assert os.pread(again, 3, 64 * _MIB - 3) == b"end"
    assert os.fstat(again).st_blocks * 512 < _MIB
    os.close(memory)
    os.close(again)


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(b"short")
    with pytest.raises(DataCorrupt, match="wrong size"):
        shared_memory.load("guest", tmp_path / "memory", _MIB)

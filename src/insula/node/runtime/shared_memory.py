"""Guest memory that outlives the machine that wrote it, and that others go on from.

It lives in a memfd: a file without a name, in the host's memory, that a jailed process can be handed. Once it is
sealed nobody can write to it any more, not even through a mapping that somebody kept, so that no machine can poison
another's memory.
Source: memfd_create(2), fcntl(2) "File Sealing".
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from insula.base.errors import DataCorrupt

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_PIECE_BYTES = 8 << 20


def make(name: str, size_bytes: int) -> int:
    """New memory, all zeros, which takes room only where it is written. The caller closes the descriptor."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size_bytes)
    return descriptor


def seal(descriptor: int) -> None:
    """Make it unchangeable for ever. Raises OSError (EBUSY) while a machine has it mapped for writing."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)


def is_sealed(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS == _SEALS


def taken_bytes(descriptor: int) -> int:
    """What it takes of the host's memory: the pages that were written."""
    return os.fstat(descriptor).st_blocks * 512


def store(descriptor: int, target: Path) -> None:
    """Write it to a new file that has the same holes, synced. Blocking: call it from a thread."""
    size_bytes = os.fstat(descriptor).st_size
    with target.open("xb") as file:
        file.truncate(size_bytes)
        for begin, end in _filled(descriptor, size_bytes):
            _copy(descriptor, file.fileno(), begin, end)
        file.flush()
        os.fsync(file.fileno())


def load(name: str, source: Path, size_bytes: int) -> int:
    """Sealed memory from a file that :func:`store` wrote. Blocking: call it from a thread.

    Raises :class:`DataCorrupt` when its size is another.
    """
    with source.open("rb") as file:
        found_bytes = os.fstat(file.fileno()).st_size
        if found_bytes != size_bytes:
            raise DataCorrupt(
                f"The stored memory {source} has a wrong size",
                why=f"It has {found_bytes} bytes, and its machine has {size_bytes} bytes of memory",
                todo="Remove it; it is made anew when it is needed",
            )
        descriptor = make(name, size_bytes)
        try:
            for begin, end in _filled(file.fileno(), size_bytes):
                _copy(file.fileno(), descriptor, begin, end)
            seal(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _filled(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """The parts that are no holes, as (begin, end)."""
    place = 0
    while place < size_bytes:
        try:
            begin = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole follows
            return
        place = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, place


def _copy(source: int, target: int, begin: int, end: int) -> None:
    place = begin
    while place < end:
        place += os.pwrite(target, os.pread(source, min(_PIECE_BYTES, end - place), place), place)

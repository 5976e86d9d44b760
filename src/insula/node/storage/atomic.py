"""Files of tools and whole folders that are whole or absent: made under another name, synced, renamed.

:func:`insula.base.files.write_atomic` does it for small files that we write ourselves.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from insula.base.errors import DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def disk_full_explained(what: str) -> Iterator[None]:
    """Turn the operating system's "no space left" into our own error; all else passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"{what} found no space left on the disk",
            why=f"The host says: {error.strerror} ({error.filename or 'no file name'})",
            todo="Free space on the disk that holds Insula's folder; `insula doctor` shows how much is left",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(target: Path, *, mode: int, uid: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside `target`; when the block ends well, it becomes `target`, synced, with `mode`.

    Nothing is left of it when the block raises. What a killed process left is overwritten by the next try.
    """
    temporary = target.with_name(f".{target.name}.making")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        yield temporary
        temporary.chmod(mode)
        if uid is not None and uid != os.geteuid():
            os.chown(temporary, uid, uid)
        sync_file(temporary)
        temporary.rename(target)
        sync_folder(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise

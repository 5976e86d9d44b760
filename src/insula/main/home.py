"""INSULA_HOME: its folders, and the lock that keeps it to one service."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from insula.base.errors import Conflict, DiskFull, HostFailure
from insula.protocol.service_record import lock_path, read_record, record_path

# Machines run as users of their own and must reach their folder below node/; nobody else lists or reads anything.
_FOLDERS = {"": 0o711, "control": 0o700, "log": 0o700, "run": 0o711, "node": 0o711}


def prepare(home: Path) -> None:
    """Make the folders with their modes. May be repeated. Raises HostFailure when the system refuses."""
    for name, mode in _FOLDERS.items():
        folder = home / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o777 != mode:
                folder.chmod(mode)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                kind: type[HostFailure] = DiskFull
                todo = "Free space on that disk, or set INSULA_HOME to a folder on another"
            else:
                kind = HostFailure
                todo = "Give yourself that folder, or set INSULA_HOME to one that you may write to"
            raise kind(
                f"The folder {folder} cannot be used",
                why=f"{error.strerror}, as user {os.geteuid()}",
                todo=todo,
                code="home-not-usable",
            ) from error


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home for this process; the kernel lets go of it when we end, however we end.

    Raises Conflict when another service has it.
    """
    lock = os.open(lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = read_record(home)
            raise Conflict(
                f"Another service uses {home}",
                why=f"Process {other.pid} holds it and listens on {other.listen}" if other else "It is just starting",
                todo="Use that one, or stop it with `insula service stop`, or set INSULA_HOME and INSULA_LISTEN",
                code="home-in-use",
            ) from error
        record_path(home).unlink(missing_ok=True)  # a record left by kill -9 says nothing any more
        try:
            yield
        finally:
            record_path(home).unlink(missing_ok=True)
    finally:
        os.close(lock)

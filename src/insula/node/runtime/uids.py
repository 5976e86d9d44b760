"""An unprivileged user id for each instance, so that even an escaped machine meets only its own files.

The range is fixed, and its register is one for the whole host: several services side by side never share an id. A claim
is the file `<register>/<uid>` that holds the instance's folder; the folder holds its id in the file `uid`. Both must
agree, so a claim that was interrupted halfway, or whose folder was deleted by hand, is free again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from insula.base.errors import CapacityExceeded
from insula.base.files import write_atomic

# Above what adduser, systemd and subuid ranges hand out (systemd's "Users, Groups, UIDs and GIDs"), below 2^31.
FIRST_UID = 1_900_000_000
UID_COUNT = 65_536
REGISTER = Path("/var/lib/insula-uids")
_TRIES = 64


class UidRange:
    """Claims and releases ids. Blocking (a few small files): call it from a thread."""

    def __init__(self, register: Path = REGISTER, *, first: int = FIRST_UID, count: int = UID_COUNT) -> None:
        self._register = register
        self._first = first
        self._count = count

    @staticmethod
    def is_usable() -> bool:
        """Whether this process may become other users: root with the whole range mapped in its user namespace."""
        if os.geteuid() != 0:
            return False
        for line in Path("/proc/self/uid_map").read_text().splitlines():
            inside, _, length = map(int, line.split())
            if inside <= FIRST_UID and inside + length >= FIRST_UID + UID_COUNT:
                return True
        return False

    def claim(self, folder: Path) -> int:
        """The id of the instance in `folder`, a new one at the first call. May be repeated.

        Raises :class:`CapacityExceeded` when the range is used up.
        """
        with self._locked():
            known = self._claimed(folder)
            if known is not None:
                return known
            uid = self._free_uid()
            (self._register / str(uid)).write_text(str(folder))
            write_atomic(folder / "uid", f"{uid}\n".encode(), mode=0o644)
            return uid

    def release(self, folder: Path) -> None:
        """Give the id back, before or after the folder is removed; its machine must have ended. May be repeated."""
        with self._locked():
            for claim in self._register.iterdir():
                if claim.name.isdigit() and claim.read_text() == str(folder):
                    claim.unlink()
            (folder / "uid").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._register.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._register / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _claimed(self, folder: Path) -> int | None:
        uid = _recorded(folder)
        if uid is None or not self._first <= uid < self._first + self._count:
            return None
        claim = self._register / str(uid)
        return uid if claim.exists() and claim.read_text() == str(folder) else None

    def _free_uid(self) -> int:
        for number in range(_TRIES + self._count):
            # Random first, so that an id just released is rarely the next one; in order when the range is nearly full.
            offset = secrets.randbelow(self._count) if number < _TRIES else number - _TRIES
            claim = self._register / str(self._first + offset)
            if not claim.exists() or _recorded(Path(claim.read_text())) != self._first + offset:
                return self._first + offset
        raise CapacityExceeded(
            "No unprivileged user id is left for another instance",
            why=f"All {self._count} ids from {self._first} on are taken; {self._register} lists them",
            todo="Delete instances that are no longer needed",
            code="uids-used-up",
        )


def give_file(path: Path, uid: int | None) -> None:
    """Make a file a user's own, readable and writable for nobody else; None leaves its owner. May be repeated."""
    # Through a descriptor that refuses links: the path may have been tampered with by an escaped machine.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            if uid is not None:
                os.fchown(descriptor, uid, uid)
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _recorded(folder: Path) -> int | None:
    try:
        return int((folder / "uid").read_text())
    except (OSError, ValueError):
        return None

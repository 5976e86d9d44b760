"""Files that are whole or absent, whatever happens in the middle."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from insula.base.errors import DiskFull


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a small file: beside its place, synced, then renamed over it; readers see the old or the new one.

    Raises :class:`DiskFull`, else OSError; nothing half-written stays behind, except the draft of a process that was
    killed: :func:`remove_drafts` takes it away.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(
                f"{path} could not be written",
                why=f"{error.strerror} while writing {len(data)} bytes",
                todo="Free space on that disk; `insula doctor` shows how much is left",
            ) from error
        raise


def remove_drafts(folder: Path) -> None:
    """Remove what a killed process left of :func:`write_atomic` in `folder`; call it while nobody writes there."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)

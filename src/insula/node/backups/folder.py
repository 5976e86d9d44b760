"""A folder as a target: another disk, or a file server that is mounted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from insula.base.errors import HostFailure, NotFound
from insula.base.files import write_atomic
from insula.node.backups.target import Stored

_DRAFT = "."  # names of objects never begin with a dot; drafts do


class FolderTarget:
    """Implements Target. The folder must exist, so that a disk that is not mounted is not taken for an empty target."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, name, data)

    def _put(self, name: str, data: bytes) -> None:
        self._require_folder()
        path = self._folder / name
        try:
            self._make_parents(path)
            write_atomic(path, data)
            _sync_folder(path.parent)
        except OSError as error:
            raise _failed(f"{path} could not be written", error) from error

    def _make_parents(self, path: Path) -> None:
        """One after the other, and never the store's own folder: it is on a disk that may just have been unmounted."""
        inside = [parent for parent in path.parents if self._folder in parent.parents]
        for parent in reversed(inside):
            parent.mkdir(exist_ok=True, mode=0o700)

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return await asyncio.to_thread(self._get, name, offset, length)

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        self._require_folder()
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if length is None else length)
        except FileNotFoundError as error:
            raise NotFound(f"The backup store has no object {name}", why="It is gone", code="no-object") from error
        except OSError as error:
            raise _failed(f"{self._folder / name} could not be read", error) from error

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        for stored in await asyncio.to_thread(self._found, prefix):
            if not _is_draft(stored):
                yield stored

    def _found(self, prefix: str) -> Sequence[Stored]:
        """Objects and drafts. What another removes meanwhile is left out."""
        self._require_folder()
        found = []
        for folder, _, names in os.walk(self._folder / prefix):
            for path in (Path(folder, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    facts = path.lstat()
                    if stat.S_ISREG(facts.st_mode):
                        found.append(Stored(str(path.relative_to(self._folder)), facts.st_size, facts.st_mtime))
        return found

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, name)

    def _delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            self._require_folder()  # what is there but cannot be seen now is not gone
        except OSError as error:
            raise _failed(f"{self._folder / name} could not be removed", error) from error

    async def remove_drafts(self, before_s: float) -> None:
        for stored in await asyncio.to_thread(self._found, ""):
            if _is_draft(stored) and stored.modified_at_s < before_s:
                await self.delete(stored.name)

    async def close(self) -> None:
        """Nothing is open."""

    def _require_folder(self) -> None:
        if not self._folder.is_dir():
            raise HostFailure(
                f"The backup folder {self._folder} is not there",
                why="It does not exist, or the disk that it is on is not mounted",
                todo="Mount the disk or make the folder",
                code="no-backup-folder",
            )


def _is_draft(stored: Stored) -> bool:
    return stored.name.rpartition("/")[2].startswith(_DRAFT)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(what: str, error: OSError) -> HostFailure:
    return HostFailure(what, why=error.strerror or str(error), todo="Look at that disk", code="backup-folder-failed")

"""Where images are made: a folder that nobody takes for an image until it is renamed, and a lock for each name."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from insula.base.clock import monotonic_s
from insula.base.errors import HostFailure, Unavailable
from insula.base.run import run
from insula.node.storage.atomic import sync_file, sync_folder

_LOCKS = ".locks"
_BUILDING = ".building-"
_POLL_S = 0.2
_REMOVE_TIMEOUT_S = 300.0


@contextlib.asynccontextmanager
async def name_lock(library: Path, name: str, timeout_s: float, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock of one image name; it spans processes and is freed by the kernel when its holder dies.

    `on_wait` is called about once a second while somebody else holds it. Raises :class:`Unavailable` after `timeout_s`.
    """
    descriptor = _open_lock(library, name)
    try:
        deadline_s = monotonic_s() + timeout_s
        told_s = 0.0
        while not _try_lock(descriptor):
            if monotonic_s() > deadline_s:
                raise Unavailable(
                    f"The image {name} is still being made by somebody else",
                    why=f"Its lock was not free within {timeout_s:g} s",
                    todo="Look at the running operations, and try again",
                    code="image-busy",
                )
            if monotonic_s() - told_s >= 1:
                told_s = monotonic_s()
                on_wait()
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def is_locked(library: Path, name: str) -> bool:
    """Whether somebody is making (or deleting) the image right now."""
    if not (library / _LOCKS / name).exists():
        return False
    descriptor = _open_lock(library, name)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(library: Path, name: str) -> int:
    folder = library / _LOCKS
    # Other users' machines pass through the library on their way to an image, and cannot list it.
    library.mkdir(mode=0o711, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.asynccontextmanager
async def building_folder(library: Path, name: str) -> AsyncIterator[Path]:
    """A fresh folder to make an image in; whatever is left in it at the end is removed. Hold the name's lock."""
    for left in building_folders(library, name):
        await remove_tree(left)
    folder = library / f".{name}{_BUILDING}{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        yield folder
    finally:
        await asyncio.shield(remove_tree(folder))


def building_folders(library: Path, name: str = "*") -> list[Path]:
    """Folders in which an image is being made, or was when its maker was killed."""
    return sorted(library.glob(f".{name}{_BUILDING}*"))


def name_of_building(folder: Path) -> str:
    """The image name in a building folder's name."""
    return folder.name[1:].rpartition(_BUILDING)[0]


def publish(building: Path, target: Path) -> None:
    """Make a finished building folder the image folder `target`, all at once and surviving a power loss."""
    for path in building.iterdir():
        path.chmod(0o644)
        sync_file(path)
    sync_folder(building)
    target.parent.mkdir(mode=0o755, exist_ok=True)
    building.rename(target)
    sync_folder(target.parent)
    sync_folder(target.parent.parent)


async def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; fine when it is gone. Raises :class:`HostFailure` when something stays."""
    await asyncio.to_thread(shutil.rmtree, folder, True)
    if not folder.exists():
        return
    # A build as an ordinary user makes files of the users mapped into its namespace; only from there do they go.
    await run(
        [*user_namespace(), "rm", "-rf", "--one-file-system", str(folder)], timeout_s=_REMOVE_TIMEOUT_S, check=False
    )
    if folder.exists():
        raise HostFailure(
            f"The folder {folder} could not be removed",
            why="Files in it belong to another user, or the file system is read-only",
            todo=f"Remove it by hand: sudo rm -rf {folder}",
        )


def am_root() -> bool:
    return os.geteuid() == 0


def user_namespace() -> list[str]:
    """The command prefix that makes an ordinary user root over his sub-users; empty for root, who needs none."""
    return [] if am_root() else ["unshare", "--map-root-user", "--map-auto", "--"]


def owner_namespace() -> list[str]:
    """The same without sub-users, which not everybody has: his own files belong to root in there."""
    return [] if am_root() else ["unshare", "--map-root-user", "--"]

"""The content of a qcow2 disk, as QEMU reads and writes it: by `qemu-nbd` in the jail, over a Unix socket.

A guest may have written the disk's header and tables. So the server runs in the jail, as nobody else's user, and sees
the disk with what it is based on, nothing else. What it says about the disk's size is compared with the header.
Source: qemu-nbd(8), libnbd(3), the NBD protocol's `base:allocation` and QEMU's `qemu:allocation-depth`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from insula.base.clock import monotonic_s
from insula.base.errors import DataCorrupt, HostFailure, InsulaError
from insula.node.runtime import sockets
from insula.node.runtime.jail import Jail, groups_to_read
from insula.node.runtime.processes import Process, kill, peer_pid, with_argument_like
from insula.node.runtime.uids import UidRange
from insula.node.storage import nbd_library
from insula.node.storage.confined import run_confined
from insula.node.storage.extents import Change, Part
from insula.node.storage.headers import read_qcow2

_T = TypeVar("_T")

SOCKET_FOLDER = ".served-"  # begins the name of the folder that a server has its socket in
_LONGEST_S = 7 * 86400.0  # a first backup over a slow line
_START_S = 30.0
_POLL_S = 0.01
_ASKED_BYTES = 1 << 30  # in one question for what is in use
_HOLE, _ZERO = 1, 2
_CONTEXTS = ("base:allocation", "qemu:allocation-depth")


class DiskServer:
    """An open disk of `size_bytes`. Get one from :func:`served`. One call at a time."""

    def __init__(self, handle: Any, disk: Path, size_bytes: int) -> None:
        self._handle = handle
        self._disk = disk
        self.size_bytes = size_bytes

    async def parts(self, layers: int | None = None) -> Sequence[Part]:
        """The whole disk in parts, in order: what the topmost `layers` files hold counts as changed.

        Without `layers` all counts that is not zeros.
        """
        return await self._call(lambda: list(self._parts(layers)))

    async def read(self, offset: int, length: int) -> bytes:
        """At most 32 MiB."""
        return await self._call(lambda: bytes(self._handle.pread(length, offset)))

    async def write(self, offset: int, data: bytes) -> None:
        """At most 32 MiB."""
        await self._call(lambda: self._handle.pwrite(data, offset))

    async def flush(self) -> None:
        """Until all that was written is durable."""
        await self._call(self._handle.flush)

    async def _call(self, work: Callable[[], _T]) -> _T:
        """Run it in a thread, which is not left alone when this is cancelled: it uses the handle."""
        running = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except nbd_library.error() as error:
            raise _failed(self._disk, str(error)) from error
        except asyncio.CancelledError:
            self._handle.shutdown()
            await asyncio.wait({running})
            raise

    def _parts(self, layers: int | None) -> Iterator[Part]:
        begin = 0
        while begin < self.size_bytes:
            end = begin
            for part in _merged(self._statuses(begin), begin, layers):
                end = part.end
                yield part
            if end <= begin:
                raise _failed(self._disk, f"nothing is said about what follows {begin}")
            begin = end

    def _statuses(self, begin: int) -> dict[str, list[tuple[int, int]]]:
        """For each context (length, flags or depth) from there on, as far as the server tells at once."""
        found: dict[str, list[tuple[int, int]]] = {}

        def note(context: str, _offset: int, entries: Sequence[int], _error: Any) -> int:
            found[context] = list(zip(entries[::2], entries[1::2], strict=True))
            return 0

        self._handle.block_status(min(_ASKED_BYTES, self.size_bytes - begin), begin, note)
        return found


@contextlib.asynccontextmanager
async def served(disk: Path, behind: Sequence[Path] = (), *, writable: bool = False) -> AsyncIterator[DiskServer]:
    """Open a disk that is based on `behind`. Nobody else may write to it meanwhile.

    Raises DataCorrupt when it is no disk, CommandMissing, and HostFailure.
    """
    nbd = nbd_library.load()
    size_bytes = read_qcow2(disk).virtual_bytes
    async with _socket_beside(disk, behind, writable=writable) as (place, jail):
        rights = [] if writable else ["--read-only"]
        command = ["qemu-nbd", "-f", "qcow2", "-k", str(place), "-A", "-t", "--discard=unmap", *rights, str(disk)]
        server = asyncio.create_task(run_confined(command, jail, timeout_s=_LONGEST_S))
        handle = nbd.NBD()
        serving: Process | None = None
        try:
            for context in _CONTEXTS:
                handle.add_meta_context(context)
            connection = await _connected(place, server)
            serving = Process.hold(peer_pid(connection))
            await asyncio.to_thread(handle.connect_socket, connection.detach())
            if handle.get_size() != size_bytes:
                raise DataCorrupt(
                    f"The disk {disk.name} is not as large as its header says",
                    why=f"{handle.get_size()} bytes instead of {size_bytes}",
                    todo="Restore it from a backup: the file was changed from outside",
                )
            yield DiskServer(handle, disk, size_bytes)
        except nbd_library.error() as error:
            raise _failed(disk, str(error)) from error
        finally:
            # bubblewrap that was killed before its child asked to die with it has left the child behind, which would
            # serve nobody for ever.
            if serving is not None:
                serving.send(signal.SIGKILL)
                serving.close()
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)
            if serving is None:
                await asyncio.shield(asyncio.to_thread(_end, re.compile(re.escape(str(place)))))


async def end_servers(top: Path) -> None:
    """End all servers of disks below `top` that a killed service left. While nobody is served there."""
    place = re.compile(rf"{re.escape(str(top))}/.*/{re.escape(SOCKET_FOLDER)}[0-9a-f]+/socket")
    await asyncio.to_thread(_end, place)


def _end(place: re.Pattern[str]) -> None:
    kill(with_argument_like(place))


@contextlib.asynccontextmanager
async def _socket_beside(disk: Path, behind: Sequence[Path], *, writable: bool) -> AsyncIterator[tuple[Path, Jail]]:
    """Where the server listens, and its jail. As root it is a user that has nothing else, if such a one may read it.

    A disk that is being filled has no content of a guest's in its tables.
    """
    folder = disk.with_name(f"{SOCKET_FOLDER}{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    files = (disk, *behind)
    is_for_others = not writable and all(path.stat().st_mode & 0o044 for path in files)
    uids = UidRange() if UidRange.is_usable() and is_for_others else None
    uid: int | None = None
    try:
        if uids is not None:
            uid = await asyncio.to_thread(uids.claim, folder)
            os.chown(folder, uid, uid)
        yield (
            folder / "socket",
            Jail(
                read_only=tuple(behind) if writable else files,
                read_write=(folder, disk) if writable else (folder,),
                uid=uid,
                groups=groups_to_read(files) if uid is not None else (),
                dies_with_us=True,
            ),
        )
    finally:
        if uids is not None:
            await asyncio.shield(asyncio.to_thread(uids.release, folder))
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _connected(path: Path, server: asyncio.Task[Any]) -> socket.socket:
    """A connection to the server as soon as it listens."""
    deadline_s = monotonic_s() + _START_S
    while True:
        try:
            return await sockets.connect(path, _START_S)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if server.done():
                problem = server.exception()
                why = problem if isinstance(problem, InsulaError) else _failed(path, "the server ended at once")
                raise why from error
            if monotonic_s() > deadline_s:
                raise _failed(path, f"the server does not listen after {_START_S:g} s") from error
        await asyncio.sleep(_POLL_S)


def _merged(statuses: dict[str, list[tuple[int, int]]], begin: int, layers: int | None) -> Iterator[Part]:
    """Parts in which all contexts say the same throughout, as far as both of them tell."""
    allocation, depth = (list(statuses.get(context, [])) for context in _CONTEXTS)
    place = begin
    while allocation and depth:
        length = min(allocation[0][0], depth[0][0])
        flags, layer = allocation[0][1], depth[0][1]
        is_changed = True if layers is None else 0 < layer <= layers
        is_zero = bool(flags & _ZERO)
        change = Change.NONE if not is_changed else Change.ZERO if is_zero else Change.DATA
        yield Part(place, place + length, Change.NONE if layers is None and is_zero else change)
        place += length
        for told in (allocation, depth):
            told[0] = (told[0][0] - length, told[0][1])
            if not told[0][0]:
                told.pop(0)


def _failed(disk: Path, why: str) -> HostFailure:
    return HostFailure(
        f"The disk {disk.name} could not be read or written",
        why=why,
        todo="Look at the host's disk with `insula doctor`, and try again",
        code="disk-server-failed",
    )

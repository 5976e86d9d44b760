"""Single files out of backups: the disk is restored to a file that only `debugfs` reads, in the jail.

The copy is kept for some minutes, since who looks at a folder mostly wants a file of it next. Host and kernel never
mount what a guest wrote. What is lost in a damaged store does not keep back the files that are whole; those that lie on
a part of the disk that is lost are refused.
Source: debugfs(8), e2fsck(8), ext4's documentation of the superblock; UEFI specification 2.10, 5.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path, PurePosixPath

from insula.base.errors import DataCorrupt, InvalidInput, NotFound, Unsupported
from insula.base.log import get_logger
from insula.node.agent.background import Background
from insula.node.agent.backup_facts import DISK
from insula.node.agent.backup_stores import BackupStores
from insula.node.runtime.jail import Jail
from insula.node.storage.atomic import disk_full_explained
from insula.node.storage.confined import lent_to_stranger, run_confined
from insula.protocol.backups import FileEntry

_KEPT_S = 300.0
_MOST_KEPT = 3  # copies of disks; each may take as much room as its disk
_TOOL_S = 120.0
_CHUNK_BYTES = 1 << 20
_LARGEST_BYTES = 4 << 30
_SECTOR_BYTES = 512
_SUPERBLOCK, _MAGIC_AT, _MAGIC = 1024, 56, b"\x53\xef"
_BLOCK_SIZE_AT, _LARGEST_POWER = 24, 6  # 64 KiB
_GPT_SIGNATURE = b"EFI PART"
_GPT_HEADER = struct.Struct("<QII")  # at byte 72: first entry's sector, number of entries, bytes of one
_GPT_ENTRY_FIRST = struct.Struct("<Q")  # at byte 32 of an entry
_MOST_PARTITIONS = 128
_REPLAYED = frozenset({0, 1})  # nothing to do, done
_NO_FOLDER = "is not a directory"
_LINE = re.compile(
    r"\s*\d+\s+(?P<mode>[0-7]+) \(\d+\)\s+\d+\s+\d+\s+(?P<size>\d+) (?P<time>\d+-\w+-\d+ \d+:\d+) (?P<name>.*)"
)
_TYPE = re.compile(r"Inode: \d+\s+Type: (\w[\w ]*\w)\s+Mode:")
_SIZE = re.compile(r"^User:.*\bSize: (\d+)$", re.MULTILINE)
_LINK = re.compile(r'^Fast link dest: "(.*)"\s*\Z', re.MULTILINE)
_MOST_LINKS = 16
_LINK_BYTES = 4096
_UNSAFE = frozenset('"\\\n\r\0')  # could end a path that stands between quotation marks in a request to debugfs
_KINDS = {0o100000: "file", 0o040000: "folder", 0o120000: "link"}

_log = get_logger(__name__)


class BackupFiles:
    """Lists and reads files of backups. `folder` has the copies of disks."""

    def __init__(self, stores: BackupStores, background: Background, folder: Path) -> None:
        self._stores = stores
        self._background = background
        self._folder = folder
        self._busy = asyncio.Lock()
        self._uses: dict[Path, int] = {}
        self._lost: dict[Path, list[tuple[int, int]]] = {}  # bytes (from, to) of the disk

    async def clean(self) -> None:
        """Remove what a killed service left. For the service's start."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def list(self, store_id: str, backup_id: str, path: str) -> Sequence[FileEntry]:
        """What is in a folder of the disk, or the file itself.

        Raises NotFound, InvalidInput for a path that is none, Unsupported when no ext4 file system is found, and
        DataCorrupt.
        """
        place = _checked(path)
        async with self._busy, self._disk(store_id, backup_id) as disk:
            try:
                found = _entries(await self._debugfs(disk, f'ls -l "{place}"'))
                await self._check_whole(disk, place)
                return found
            except NotFound as error:
                if _NO_FOLDER not in error.why:
                    raise
            beside = _entries(await self._debugfs(disk, f'ls -l "{place.parent}"'))
            return [entry for entry in beside if entry.name == place.name]

    async def read(self, store_id: str, backup_id: str, path: str) -> AsyncIterator[bytes]:
        """The content of a file in chunks, or of the one that a link leads to.

        It is copied out of the disk before this returns, so errors come early. Raises as :meth:`list` does, and
        NotFound for what has no content, such as a folder.
        """
        place = _checked(path)
        async with self._busy, self._disk(store_id, backup_id) as disk:
            followed = await self._followed(disk, place)
            await self._check_whole(disk, followed)
            descriptor = await self._copied(disk, followed)
        return _chunks(descriptor)

    async def _check_whole(self, disk: Path, place: PurePosixPath) -> None:
        """Raise DataCorrupt when any of it lies on a part of the disk that is lost."""
        if not (lost := self._lost.get(disk)):
            return
        offset, block_bytes = await asyncio.to_thread(_geometry, disk)
        for number in map(int, (await self._debugfs(disk, f'blocks "{place}"')).split()):
            begin = offset + number * block_bytes
            if any(begin < end and first < begin + block_bytes for first, end in lost):
                raise DataCorrupt(
                    f"{place} is not whole in the backup",
                    why="Parts of the backup's disk are lost in its store, and it lies on one of them",
                    todo="Take it from another backup; `insula backup store check` tells what is damaged",
                    code="backup-damaged",
                )

    async def _copied(self, disk: Path, place: PurePosixPath) -> int:
        """What debugfs takes as the content, in a file that has no name any more."""
        copy = disk.with_name("file")
        copy.unlink(missing_ok=True)
        try:
            said = await self._debugfs(disk, f'dump "{place}" "{copy}"', copy)
            if not copy.exists() or (not copy.stat().st_size and said):
                raise _no_file(place, said)
            return os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            copy.unlink(missing_ok=True)

    async def _followed(self, disk: Path, place: PurePosixPath) -> PurePosixPath:
        """The file that a path leads to; debugfs follows links on the way to a file only."""
        for _ in range(_MOST_LINKS):
            said = await self._debugfs(disk, f'stat "{place}"')
            found = _TYPE.search(said)
            kind = found[1] if found is not None else "thing that debugfs does not know"
            if kind == "regular":
                _refuse_too_large(place, said)
                return place
            if kind != "symlink":
                raise _no_file(f"file {place}", f"It is a {kind}, which has no content")
            target = await self._target(disk, place, said)
            if not target or _UNSAFE & set(target):
                raise _no_file(f"file {place}", f"It is a link to {target!r}, which cannot be followed")
            place = place.parent / target
        raise _no_file(f"file {place}", f"More than {_MOST_LINKS} links lead to it")

    async def _target(self, disk: Path, place: PurePosixPath, said: str) -> str:
        """Where a link leads: debugfs tells of short ones, and long ones have it as their content."""
        if (short := _LINK.search(said)) is not None:
            return short[1]
        descriptor = await self._copied(disk, place)
        try:
            return os.pread(descriptor, _LINK_BYTES, 0).decode("utf-8", "replace")
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def _disk(self, store_id: str, backup_id: str) -> AsyncIterator[Path]:
        """The disk as a raw file, restored unless it is here from the last call."""
        disk = self._folder / backup_id / "disk"
        if not disk.exists():
            await self._make_room()
            await self._restore(store_id, backup_id, disk)
        # Those that were used last come last.
        self._uses[disk] = uses = self._uses.pop(disk, 0) + 1
        try:
            yield disk
        finally:
            self._background.spawn(self._expire(disk, uses), "copy of a backup's disk")

    async def _make_room(self) -> None:
        """Let go of those copies that were not used for longest, so that one more is not too many."""
        for disk in list(self._uses)[: max(0, len(self._uses) - _MOST_KEPT + 1)]:
            del self._uses[disk]
            await asyncio.to_thread(shutil.rmtree, disk.parent, ignore_errors=True)

    async def _restore(self, store_id: str, backup_id: str, disk: Path) -> None:
        async with self._stores.opened(store_id) as repository:
            backup = await repository.backup(backup_id)
            tree = backup.disks[DISK]
            await asyncio.to_thread(self._make_folder, disk.parent)
            draft, lost = disk.with_name("draft"), list[tuple[int, int]]()
            try:
                with disk_full_explained("Copying the disk out of the backup"):
                    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                    try:
                        os.ftruncate(descriptor, tree.size_bytes)
                        async with aclosing(repository.read(tree, tolerant=True)) as pieces:
                            async for piece in pieces:
                                if piece.lost:
                                    lost.append((piece.offset, piece.offset + piece.length))
                                else:
                                    await asyncio.to_thread(os.pwrite, descriptor, piece.data, piece.offset)
                    finally:
                        os.close(descriptor)
                await _replay(draft)
                draft.rename(disk)
                self._lost[disk] = lost
            except BaseException:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, disk.parent, ignore_errors=True))
                raise

    def _make_folder(self, folder: Path) -> None:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder.chmod(0o711)
        folder.mkdir(mode=0o711, exist_ok=True)

    async def _expire(self, disk: Path, uses: int) -> None:
        await asyncio.sleep(_KEPT_S)
        async with self._busy:
            if self._uses.get(disk) == uses:
                del self._uses[disk]
                await asyncio.to_thread(shutil.rmtree, disk.parent, ignore_errors=True)

    async def _debugfs(self, disk: Path, request: str, target: Path | None = None) -> str:
        """What it prints, its complaints without its own name. Raises NotFound when it knows no such path."""
        offset = await asyncio.to_thread(_file_system_at, disk)
        if offset is None:
            raise Unsupported(
                "No files can be taken from this backup",
                why="Its disk has no ext2, ext3 or ext4 file system that Insula can find",
                todo="Restore it to a volume, and attach that to an instance: `insula backup restore --volume`",
                code="no-file-system",
            )
        if target is not None:
            target.touch(mode=0o600)
        async with lent_to_stranger(disk) as uid, contextlib.AsyncExitStack() as stack:
            if target is not None and uid is not None:
                os.chown(target, uid, uid)
                stack.callback(os.chown, target, os.geteuid(), os.getegid())
            written = (target,) if target is not None else ()
            jail = Jail(read_only=(disk,), read_write=written, uid=uid, dies_with_us=True)
            command = ["debugfs", "-R", request, f"{disk}?offset={offset}"]
            done = await run_confined(command, jail, timeout_s=_TOOL_S, max_file_bytes=_LARGEST_BYTES)
        complaints = [line for line in done.stderr.decode("utf-8", "replace").splitlines()[1:] if line.strip()]
        if complaints:
            raise _no_file(request.split('"')[1], complaints[0])
        return done.stdout.decode("utf-8", "replace")


async def _replay(disk: Path) -> None:
    """Do what the file system's journal says is still to be done: it was cut off if it had not been frozen."""
    offset = await asyncio.to_thread(_file_system_at, disk)
    if offset is None:
        return
    async with lent_to_stranger(disk) as uid:
        jail = Jail(read_write=(disk,), uid=uid, dies_with_us=True)
        command = ["e2fsck", "-y", "-E", "journal_only", f"{disk}?offset={offset}"]
        done = await run_confined(command, jail, timeout_s=_TOOL_S, check=False)
    if done.returncode not in _REPLAYED:
        _log.warning(
            "a journal in a backup cannot be replayed",
            said=(done.stderr or done.stdout)[-300:].decode("utf-8", "replace"),
        )


def _file_system_at(disk: Path) -> int | None:
    """Where the first ext file system begins, in bytes: on the whole disk or in a partition. Blocking."""
    with disk.open("rb") as file:
        for place in (0, *_partitions(file)):
            file.seek(place + _SUPERBLOCK + _MAGIC_AT)
            if file.read(len(_MAGIC)) == _MAGIC:
                return place
    return None


def _geometry(disk: Path) -> tuple[int, int]:
    """Where the file system begins, and how large its blocks are, in bytes. Blocking."""
    place = _file_system_at(disk) or 0
    with disk.open("rb") as file:
        file.seek(place + _SUPERBLOCK + _BLOCK_SIZE_AT)
        (power,) = struct.unpack("<I", file.read(4))
    return place, 1024 << min(power, _LARGEST_POWER)


def _partitions(file: BufferedReader) -> list[int]:
    """Where the partitions begin, in bytes."""
    file.seek(_SECTOR_BYTES)
    header = file.read(_SECTOR_BYTES)
    if not header.startswith(_GPT_SIGNATURE):
        return []
    first, count, size = _GPT_HEADER.unpack_from(header, 72)
    if not 128 <= size <= _SECTOR_BYTES:
        return []
    file.seek(first * _SECTOR_BYTES)
    entries = [file.read(size) for _ in range(min(count, _MOST_PARTITIONS))]
    used = [entry for entry in entries if len(entry) == size and any(entry[:16])]
    return [_GPT_ENTRY_FIRST.unpack_from(entry, 32)[0] * _SECTOR_BYTES for entry in used]


def _checked(path: str) -> PurePosixPath:
    """A path that can stand between quotation marks in a request to debugfs."""
    place = PurePosixPath(path or "/")
    if not place.is_absolute() or ".." in place.parts or _UNSAFE & set(path):
        raise InvalidInput(
            f"{path[:80]!r} is no path of a file in a backup",
            why='It must begin with / and have no "..", quotation marks, backslashes or line ends',
            todo="Take one like /etc/hosts",
            code="bad-path",
            fields={"path": "an absolute path"},
        )
    return place


def _entries(said: str) -> list[FileEntry]:
    """What `ls -l` tells of."""
    found = []
    for line in said.splitlines():
        if (told := _LINE.fullmatch(line)) is None or told["name"] in {".", ".."}:
            continue
        mode = int(told["mode"], 8)
        kind = _KINDS.get(mode & 0o170000, "other")
        modified_at = datetime.strptime(told["time"], "%d-%b-%Y %H:%M").replace(tzinfo=UTC)
        found.append(FileEntry(told["name"], kind, int(told["size"]), mode & 0o7777, modified_at))
    return found


def _refuse_too_large(place: PurePosixPath, said: str) -> None:
    """Raise Unsupported when what debugfs told of a file says that it is larger than may be copied out."""
    size = _SIZE.search(said)
    if size is not None and int(size[1]) > _LARGEST_BYTES:
        raise Unsupported(
            f"{place} is too large to be taken out of the backup",
            why=f"It has {int(size[1]) >> 20:,} MiB, and {_LARGEST_BYTES >> 20:,} MiB are the most",
            todo="Restore the disk to a volume, and attach that to an instance: `insula backup restore --volume`",
            code="file-too-large",
        )


def _no_file(path: object, why: str) -> NotFound:
    return NotFound(
        f"The backup has no {path}",
        why=why or "Its file system does not know it",
        todo="Look at what is there: `insula backup files BACKUP /`",
        code="no-file",
    )


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    try:
        offset = 0
        while data := await asyncio.to_thread(os.pread, descriptor, _CHUNK_BYTES, offset):
            yield data
            offset += len(data)
    finally:
        os.close(descriptor)

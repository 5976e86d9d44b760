"""Files, folders and links out of backups of real file systems, and of what is none."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, InsulaError, InvalidInput, NotFound, Unsupported
from insula.base.run import SEARCH_PATH
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.node.agent.background import Background
from insula.node.agent.backup_facts import DISK
from insula.node.agent.backup_files import BackupFiles
from insula.node.agent.backup_stores import BackupStores
from insula.node.backups.writer import DiskContent, Extent
from insula.protocol.backups import StoreSecret, StoreSpec

pytestmark = pytest.mark.skipif(shutil.which("debugfs", path=SEARCH_PATH) is None, reason="needs debugfs")

_DISK_BYTES = 16 << 20
_PARTITION_SECTOR = 2048
_LONG = "long-" * 20


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, as the jail's user must."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def make_content(top: Path) -> None:
    for folder in ("etc", "usr/lib", "dir"):
        (top / folder).mkdir(parents=True)
    (top / "usr/lib/release").write_text("Tiny 1\n")
    (top / "usr/lib" / _LONG).write_text("far away\n")
    (top / "dir/empty").touch()
    (top / "dir/large").write_bytes(os.urandom(3 << 20))
    for name, target in {
        "etc/release": "../usr/lib/release",
        "etc/again": "release",
        "etc/whole": "/usr/lib/release",
        "etc/long": f"/usr/lib/{_LONG}",
        "etc/loop": "loop",
        "etc/gone": "/nowhere",
        "etc/evil": 'release"\ndump "/usr/lib/release" "/tmp/evil',
        "lib": "usr/lib",
        "folder": "dir",
    }.items():
        (top / name).symlink_to(target)
    os.mkfifo(top / "dir/pipe")


def make_disk(room: Path) -> bytes:
    make_content(room / "content")
    disk = room / "made"
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    mkfs = shutil.which("mkfs.ext4", path=SEARCH_PATH)
    assert mkfs is not None
    subprocess.run([mkfs, "-q", "-d", room / "content", disk], check=True, timeout=60)
    return disk.read_bytes()


def partitioned(file_system: bytes) -> bytes:
    """A disk with a table that has an empty entry, and then one for the file system."""
    disk = bytearray(_PARTITION_SECTOR * 512) + file_system
    disk[512:520] = b"EFI PART"
    disk[512 + 72 : 512 + 88] = struct.pack("<QII", 2, 4, 128)
    entry = bytearray(128)
    entry[:16] = os.urandom(16)
    entry[32:48] = struct.pack("<QQ", _PARTITION_SECTOR, len(disk) // 512 - 1)
    disk[1024 + 128 : 1024 + 256] = entry
    return bytes(disk)


class Kept:
    """Disks in a store, and what reads files of them."""

    def __init__(self, room: Path, background: Background) -> None:
        self.stores = BackupStores(room / "node" / "stores", room / "node")
        self.files = BackupFiles(self.stores, background, room / "scratch")
        self.store = StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(room / "store")))

    async def keep(self, disk: bytes) -> str:
        async def content() -> AsyncIterator[Extent]:
            yield Extent(0, len(disk), disk)

        backup = new_id(Kind.BACKUP)
        async with self.stores.opened(self.store.id) as repository:
            await repository.write(backup, {DISK: DiskContent(len(disk), content())}, {})
        return backup

    async def read(self, backup: str, path: str) -> bytes:
        return b"".join([piece async for piece in await self.files.read(self.store.id, backup, path)])

    async def names(self, backup: str, path: str) -> dict[str, tuple[str, int]]:
        found = await self.files.list(self.store.id, backup, path)
        return {entry.name: (entry.kind, entry.size_bytes) for entry in found}


@pytest.fixture
async def kept(room: Path) -> AsyncIterator[Kept]:
    (room / "store").mkdir()
    background = Background()
    made = Kept(room, background)
    await made.stores.open(made.store, StoreSecret())
    yield made
    await background.close()


async def test_files_folders_and_links(kept: Kept, room: Path) -> None:
    backup = await kept.keep(make_disk(room))
    assert await kept.names(backup, "/dir") == {"empty": ("file", 0), "large": ("file", 3 << 20), "pipe": ("other", 0)}
    assert await kept.names(backup, "/usr/lib/release") == {"release": ("file", 7)}
    assert (await kept.names(backup, "/etc"))["release"][0] == "link"
    assert await kept.read(backup, "/dir/large") == (room / "content/dir/large").read_bytes()
    assert await kept.read(backup, "/dir/empty") == b""
    for link in ("/etc/release", "/etc/again", "/etc/whole", "/lib/release"):
        assert await kept.read(backup, link) == b"Tiny 1\n", link
    assert await kept.read(backup, "/etc/long") == b"far away\n"
    assert sorted(path.name for path in (room / "scratch" / backup).iterdir()) == ["disk"]


async def test_what_has_no_content_is_told(kept: Kept, room: Path) -> None:
    backup = await kept.keep(make_disk(room))
    for path, why in {
        "/dir": "is a directory",
        "/folder": "is a directory",
        "/dir/pipe": "is a FIFO",
        "/etc/loop": "links lead to it",
        "/etc/gone": "not found",
        "/etc/evil": "",
        "/nowhere": "not found",
    }.items():
        with pytest.raises(NotFound) as caught:
            await kept.read(backup, path)
        assert why in caught.value.why, path
    assert sorted(path.name for path in (room / "scratch" / backup).iterdir()) == ["disk"]
    for path in ("etc/release", "/etc/../dir", '/etc/a"b', "/etc/a\nb"):
        with pytest.raises(InvalidInput):
            await kept.read(backup, path)


async def test_a_partition_is_found(kept: Kept, room: Path) -> None:
    backup = await kept.keep(partitioned(make_disk(room)))
    assert await kept.read(backup, "/etc/release") == b"Tiny 1\n"


async def test_a_disk_without_a_file_system_is_told(kept: Kept) -> None:
    backup = await kept.keep(os.urandom(1 << 20))
    with pytest.raises(Unsupported, match="No files"):
        await kept.read(backup, "/etc/release")


async def test_what_is_too_large_is_told(kept: Kept, room: Path) -> None:
    make_disk(room)
    large = room / "large"
    with large.open("wb") as file:
        file.truncate((4 << 30) + 1)
    subprocess.run(["/usr/sbin/debugfs", "-w", "-R", f"write {large} huge", room / "made"], check=True, timeout=60)
    backup = await kept.keep((room / "made").read_bytes())
    with pytest.raises(Unsupported, match="/huge is too large"):
        await kept.read(backup, "/huge")
    assert await kept.read(backup, "/etc/release") == b"Tiny 1\n"


async def test_only_some_copies_of_disks_are_kept(kept: Kept, room: Path) -> None:
    disk = make_disk(room)
    first, second, *others = [await kept.keep(disk) for _ in range(5)]
    for backup in (first, second, others[0], first, *others[1:]):
        assert await kept.read(backup, "/etc/release") == b"Tiny 1\n"
    assert {path.name for path in (room / "scratch").iterdir()} == {first, *others[1:]}


async def test_what_a_killed_service_left_is_removed(kept: Kept, room: Path) -> None:
    backup = await kept.keep(make_disk(room))
    assert await kept.names(backup, "/")
    await kept.files.clean()
    assert not (room / "scratch").exists()
    assert await kept.read(backup, "/etc/release") == b"Tiny 1\n"


async def test_what_is_whole_comes_out_of_a_damaged_store(kept: Kept, room: Path) -> None:
    backup = await kept.keep(make_disk(room))
    # Nearly all that the store holds of the disk is the one file that cannot be compressed.
    pack = max((room / "store" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    assert len(content) > 3 << 20
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    assert await kept.read(backup, "/etc/release") == b"Tiny 1\n"
    assert await kept.names(backup, "/dir") == {"empty": ("file", 0), "large": ("file", 3 << 20), "pipe": ("other", 0)}
    with pytest.raises(DataCorrupt, match="/dir/large is not whole"):
        await kept.read(backup, "/dir/large")


async def test_a_damaged_file_system_harms_nobody(kept: Kept, room: Path) -> None:
    disk = bytearray(make_disk(room))
    disk[2048 : 1 << 20] = os.urandom((1 << 20) - 2048)
    backup = await kept.keep(bytes(disk))
    with pytest.raises(InsulaError):
        await kept.read(backup, "/etc/release")

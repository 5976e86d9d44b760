"""Single files out of backups whose file systems were cut off, or lie in a partition."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.node.agent import Node
from insula.protocol.backups import StoreSecret, StoreSpec
from tests.conformance.backups.test_damage import emulated, off
from tests.unit.node.agent.conftest import quiet

_MIB = 1 << 20


@pytest.fixture
def top() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def tool(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def cut_off(top: Path) -> bytes:
    """A file system with a file whose new content is in the journal only."""
    disk, old, new = top / "ext4", top / "old", top / "new"
    old.write_bytes(b"old\n".ljust(4096, b"\0"))
    new.write_bytes(b"new\n".ljust(4096, b"\0"))
    tool("mke2fs", "-q", "-t", "ext4", "-b", "4096", disk, "32M")
    tool("debugfs", "-w", "-R", f"write {old} file", disk)
    block = tool("debugfs", "-R", "blocks /file", disk).strip()
    commands = top / "commands"
    commands.write_text(f"jo\njw -b {block} {new}\njc\n")
    tool("debugfs", "-w", "-f", commands, disk)
    assert "needs_recovery" in tool("dumpe2fs", "-h", disk)
    return disk.read_bytes()


def in_partition(content: bytes) -> bytes:
    """A disk with a partition table of which only what is looked at is filled in."""
    disk = bytearray(_MIB) + content + bytes(_MIB)
    struct.pack_into("<8s64xQII", disk, 512, b"EFI PART", 2, 128, 128)
    struct.pack_into("<16s16xQQ", disk, 1024, b"any kind but 0..", _MIB // 512, (_MIB + len(content)) // 512 - 1)
    return bytes(disk)


async def content_of(node: Node, top: Path, name: str, disk: bytes, store: StoreSpec) -> bytes:
    spec, backup = await off(node, top, name, disk), new_id(Kind.BACKUP)
    await node.make_backup(spec.id, backup, store.id, quiet)
    assert "file" in [entry.name for entry in await node.backup_files(store.id, backup, "/")]
    pieces = await node.read_backup_file(store.id, backup, "/file")
    return b"".join([piece async for piece in pieces])


async def test_what_is_in_the_journal_is_in_the_file(top: Path) -> None:
    place = top / "store"
    place.mkdir()
    store = StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(place)))
    whole = cut_off(top)
    async with emulated(top / "home") as node:
        await node.open_store(store, StoreSecret())
        for name, disk in (("whole", whole), ("partition", in_partition(whole))):
            assert (await content_of(node, top, name, disk, store)).rstrip(b"\0") == b"new\n", name

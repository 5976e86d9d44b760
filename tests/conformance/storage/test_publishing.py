"""Images of instances' disks with the real tools: one file that needs no other, with what is in use only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt
from insula.domain.ids import Kind, new_id
from insula.domain.image import ImageSource, ImageState
from insula.node.storage.backend import BootableImage, KernelBoot, Publication
from insula.node.storage.disks import Disks
from insula.node.storage.library import ImageLibrary
from tests.conformance.storage.test_files import facts_of, ignore, imported, qcow2, qemu_img, room

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")

__all__ = ["qcow2", "room"]  # fixtures


async def test_a_disk_with_all_it_is_made_from_becomes_one_file(room: Path, qcow2: Path) -> None:
    image = await imported(room, qcow2)
    disk = room / "disk.qcow2"
    await Disks().clone(image, disk, 2)
    qemu_img_io(disk, "write -P 0x5a 64M 1M", "discard 0 512k")
    flat = room / "flat.qcow2"
    await Disks().flatten(disk, flat)
    facts = facts_of(flat)
    assert "backing-filename" not in facts
    assert facts["virtual-size"] == 2 << 30
    qemu_img("compare", "-f", "qcow2", "-F", "qcow2", flat, disk)
    assert flat.stat().st_uid == os.geteuid()
    assert flat.stat().st_blocks * 512 < 3 << 20, "what was given back takes no room"


async def test_a_header_that_was_bent_is_not_followed(room: Path, qcow2: Path) -> None:
    image = await imported(room, qcow2)
    disk, secret = room / "disk.qcow2", room / "secret"
    secret.write_bytes(b"secret" * 100)
    await Disks().clone(image, disk, 2)
    qemu_img("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", secret, disk)
    with pytest.raises(DataCorrupt):
        await Disks().flatten(disk, room / "flat.qcow2")


async def test_the_library_keeps_it_with_its_kernel_by_its_id(room: Path, qcow2: Path) -> None:
    base = await imported(room, qcow2)
    for name in ("kernel", "initrd", "vmlinux"):
        (room / name).write_text(name)
    boot = KernelBoot(room / "kernel", room / "initrd", "console=ttyS0", room / "vmlinux")
    base = BootableImage(base.name, base.image, base.disk, boot, renew=("random",))
    library = ImageLibrary(room / "images", [])
    image_id, disk = new_id(Kind.IMAGE), room / "disk.qcow2"
    await Disks().clone(base, disk, 2)
    fill: Callable[[Path], Awaitable[None]] = partial(Disks().flatten, disk)
    made = await library.publish(Publication(image_id, "Mine", base), fill, ignore)
    assert (made.name, made.source, made.state, made.min_disk_gib) == (
        image_id,
        ImageSource.PUBLISHED,
        ImageState.READY,
        2,
    )
    found = await library.bootable(image_id)
    assert found.direct_boot is not None
    assert found.direct_boot.kernel.read_text() == "kernel"
    assert (found.direct_boot.unpacked_kernel, found.direct_boot.unsigned_initrd) == (
        found.disk.with_name("vmlinux"),
        None,
    )
    assert (found.renew, found.behind) == (("random",), ())
    child = room / "child.qcow2"
    await Disks().clone(found, child, 3)
    await Disks().grow(child, 4)
    await library.delete(image_id)
    await library.delete(image_id)


async def test_what_fails_leaves_nothing(room: Path, qcow2: Path) -> None:
    base = await imported(room, qcow2)
    library = ImageLibrary(room / "images", [])

    async def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise DataCorrupt("The disk is damaged")

    with pytest.raises(DataCorrupt):
        await library.publish(Publication(new_id(Kind.IMAGE), "Mine", base), fail, ignore)
    assert [path.name for path in (room / "images").glob("*") if path.name != ".locks"] == ["mine"]


def qemu_img_io(disk: Path, *commands: str) -> None:
    given = [part for command in commands for part in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", "-d", "unmap", *given, str(disk)], check=True, capture_output=True)

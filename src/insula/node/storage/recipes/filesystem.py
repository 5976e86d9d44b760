"""Makes a guest's root disk of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insula.base.run import run
from insula.node.storage.recipes.initrd import ROOT_LABEL

_TIMEOUT_S = 900.0


def mke2fs_command(tree: Path, raw: Path, size_mib: int) -> list[str]:
    """ext4 on the whole disk.

    No partition table: the hypervisor loads the kernel, so there is no boot loader to hold, and growing the disk is one
    call of resize2fs instead of moving a partition's end first. The inode tables are complete, so the guest's kernel
    does not write them in the background.
    """
    features = ["-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"]
    return [
        *["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", ROOT_LABEL, *features],
        *["-d", str(tree), str(raw), f"{size_mib}M"],
    ]


async def pack(raw: Path, target: Path) -> None:
    """Turn a raw disk of ours into the image's qcow2 file and remove it."""
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-W", "-m", "4", str(raw), str(target)]
    await run(command, timeout_s=_TIMEOUT_S)
    raw.unlink()


async def make_disk(tree: Path, target: Path, size_mib: int, prefix: Sequence[str]) -> None:
    """Make the disk of a folder; `prefix` runs the tool where the folder's owner is root."""
    raw = target.with_name("disk.raw")
    await run([*prefix, *mke2fs_command(tree, raw, size_mib)], timeout_s=_TIMEOUT_S)
    await pack(raw, target)

"""Empty disks for volumes, with a file system if one is wanted.

A file system is made on a sparse raw file, in the jail, and that becomes a qcow2 file: what its maker did not write
takes no room on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insula.base.run import find_program, run
from insula.domain.volume import FileSystem
from insula.node.runtime.jail import Jail
from insula.node.storage.confined import run_confined

_GIB = 1 << 30
_TIMEOUT_S = 300.0
_LABEL_CHARS = {FileSystem.EXT4: 16, FileSystem.XFS: 12}

# The inode tables count as written, since all of the disk reads as zeros: a guest's kernel need not fill them.
_EXT4 = ("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0")
_MAKERS: Mapping[FileSystem, tuple[str, ...]] = {FileSystem.EXT4: _EXT4, FileSystem.XFS: ("mkfs.xfs", "-q", "-f")}


async def make_blank(target: Path, size_gib: int, file_system: FileSystem, label: str) -> None:
    """Make `target` a qcow2 file of this size, empty but for the file system, whose label is cut to what fits.

    Raises :class:`CommandMissing` that names the package which makes such file systems, and what the tools raise.
    """
    if file_system is FileSystem.NONE:
        await run(["qemu-img", "create", "-q", "-f", "qcow2", str(target), f"{size_gib}G"], timeout_s=_TIMEOUT_S)
        return
    maker = _MAKERS[file_system]
    find_program(maker[0])
    raw = target.with_name(f".{target.name.lstrip('.')}.raw")
    try:
        with raw.open("wb") as file:
            file.truncate(size_gib * _GIB)
        fitting = label[: _LABEL_CHARS[file_system]]
        jail = Jail(read_write=(raw,), dies_with_us=True)
        await run_confined([*maker, "-L", fitting, str(raw)], jail, timeout_s=_TIMEOUT_S)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)]
        await run(convert, timeout_s=_TIMEOUT_S)
    finally:
        raw.unlink(missing_ok=True)

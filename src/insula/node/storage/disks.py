"""Disks of instances: qcow2 files that hold only what differs from their image."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.base.run import run
from insula.domain.disk import check_growth
from insula.domain.volume import FileSystem
from insula.node.runtime.jail import Jail, groups_to_read
from insula.node.storage.atomic import disk_full_explained, replacing
from insula.node.storage.backend import BootableImage, SeedContents
from insula.node.storage.blank import make_blank
from insula.node.storage.confined import run_confined
from insula.node.storage.disk_server import DiskServer, end_servers, served
from insula.node.storage.fork_point import DISK_FILE, FORK_FILE
from insula.node.storage.headers import Qcow2Header, read_qcow2
from insula.node.storage.manifest import MANIFEST_FILE
from insula.node.storage.seed import rewrite_seed, write_seed
from insula.node.storage.template import TEMPLATE_FILE

_GIB = 1 << 30
MAX_SIZE_GIB = 16_384
_TOOL_TIMEOUT_S = 60.0
_MERGE_TIMEOUT_S = 1800.0
# The backing format is always named: a format that is guessed can be steered by what a guest writes.
_CREATE = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2")
_CREATE_ALONE = ("qemu-img", "create", "-q", "-f", "qcow2")
_MADE_FROM = (TEMPLATE_FILE, FORK_FILE)  # tells disks that others are made from, besides those of images
_DEEPEST = 64


class Disks:
    """Makes and grows instances' disks."""

    async def clone(self, image: BootableImage, target: Path, size_gib: int, uid: int | None = None) -> None:
        """Make `target` a copy-on-write disk on `image`; an existing one is replaced.

        Raises :class:`InvalidInput` when the size is smaller than the image or absurd, :class:`DiskFull`.
        """
        _check_size(size_gib, image.image.min_disk_gib, image.name)
        with disk_full_explained(f"Making the disk {target.name}"), replacing(target, mode=0o600, uid=uid) as temporary:
            await run(
                [*_CREATE, "-b", str(image.disk.absolute()), str(temporary), f"{size_gib}G"],
                timeout_s=_TOOL_TIMEOUT_S,
            )

    async def layer(self, base: Path, target: Path, uid: int | None = None) -> None:
        """Make `target` a disk without content of its own over `base`, as large as that; an existing one is replaced.

        Raises :class:`DataCorrupt` when `base` is no disk, :class:`DiskFull`.
        """
        size_bytes = read_qcow2(base).virtual_bytes
        with disk_full_explained(f"Making the disk {target.name}"), replacing(target, mode=0o600, uid=uid) as temporary:
            # Unsafe (-u) means that the tool does not open the base. A guest may have written it.
            await run(
                [*_CREATE, "-u", "-b", str(base.absolute()), str(temporary), str(size_bytes)], timeout_s=_TOOL_TIMEOUT_S
            )

    async def merge(self, target: Path, base: Path) -> None:
        """Take all that lies between a disk and `base`, below it, into the disk, while no machine uses it.

        What lies between is left as it is. May be repeated, also after a try that was cut off: whoever reads the disk
        finds the same all the while. Raises :class:`DataCorrupt` when `base` is not below it, and what the tool raises.
        """
        header = _header_of(target)
        behind = tuple(_chain_behind(target, header.backing_file))
        if behind[:1] == (base,):
            return
        if base not in behind:
            raise _foreign(target, str(base))
        # Written through, so that what was copied is in the file before the file names its new base: a tool that is
        # killed keeps nothing back.
        names = ["-f", "qcow2", "-F", "qcow2", "-b", str(base), str(target)]
        command = ["qemu-img", "rebase", "-q", "-t", "writethrough", *names]
        with disk_full_explained(f"Merging the layers of {target.name}"):
            await run_confined(command, _jail_for(target, behind), timeout_s=_MERGE_TIMEOUT_S)

    async def blank(self, target: Path, size_gib: int, file_system: FileSystem, label: str) -> None:
        """Make `target` an empty disk of its own, with a file system on the whole of it; an existing one is replaced.

        Raises :class:`InvalidInput` for an absurd size, :class:`CommandMissing` that names the package, and DiskFull.
        """
        _check_size(size_gib, 1, target.name)
        with disk_full_explained(f"Making the disk {target.name}"), replacing(target, mode=0o600) as temporary:
            await make_blank(temporary, size_gib, file_system, label)

    async def flatten(self, disk: Path, target: Path) -> None:
        """Write what a disk and all that it is made from hold to `target`, a file that needs no other.

        Only what is in use is copied: free space that the guest gave back takes none. Raises :class:`DiskFull`,
        :class:`DataCorrupt` and what the tool raises; what is there of `target` then is for the caller to remove.
        """
        header = _header_of(disk)
        behind = tuple(_chain_behind(disk, header.backing_file))
        owner = _jail_for(disk, behind)
        target.touch(mode=0o644)
        jail = replace(owner, read_only=(disk, *behind), read_write=(target,))
        command = ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-W", "-m", "4", str(disk), str(target)]
        limit = header.virtual_bytes + header.virtual_bytes // 512 + _GIB
        with disk_full_explained(f"Copying the disk {disk.name}"):
            if owner.uid is not None:
                os.chown(target, owner.uid, owner.uid)
            try:
                await run_confined(command, jail, timeout_s=_MERGE_TIMEOUT_S, max_file_bytes=limit)
            finally:
                os.chown(target, os.geteuid(), os.getegid())
        await self.check_alone(target)

    async def clean(self, folder: Path) -> None:
        """End what a killed service left at work on disks below `folder`, at the start of the next one."""
        await end_servers(folder)

    @contextlib.asynccontextmanager
    async def opened(self, disk: Path) -> AsyncIterator[DiskServer]:
        """The content of a disk that nobody writes to. Raises :class:`DataCorrupt` and what :func:`served` raises."""
        behind = tuple(_chain_behind(disk, _header_of(disk).backing_file))
        async with served(disk, behind) as content:
            yield content

    @contextlib.asynccontextmanager
    async def filled(self, target: Path, size_bytes: int, uid: int | None = None) -> AsyncIterator[DiskServer]:
        """Make `target` a disk of its own that the block fills; an existing one is replaced when the block ends well.

        Raises :class:`DiskFull` and what :func:`served` raises.
        """
        with disk_full_explained(f"Making the disk {target.name}"), replacing(target, mode=0o600, uid=uid) as temporary:
            await run([*_CREATE_ALONE, str(temporary), str(size_bytes)], timeout_s=_TOOL_TIMEOUT_S)
            async with served(temporary, writable=True) as content:
                yield content
                await content.flush()

    async def check_alone(self, target: Path) -> None:
        """Check that a disk which a guest may have written has no parts in other files.

        Raises :class:`NotFound` and :class:`DataCorrupt`.
        """
        header = _header_of(target)
        if header.backing_file or header.external_data:
            raise DataCorrupt(
                f"The disk {target} has parts in another file",
                why="Its header names one, and we made it without",
                todo="Restore it from a backup or delete it: the file was changed from outside",
                code="foreign-backing-file",
            )

    async def grow(self, target: Path, size_gib: int) -> None:
        """Make the disk larger while no machine uses it. Raises :class:`Conflict` when it would become smaller."""
        header = _header_of(target)
        wanted_bytes = size_gib * _GIB
        if wanted_bytes == header.virtual_bytes:
            return
        check_growth(header.virtual_bytes, size_gib)
        _check_size(size_gib, 1, target.name)
        behind = tuple(_chain_behind(target, header.backing_file))
        command = ["qemu-img", "resize", "-q", "-f", "qcow2", str(target), f"{size_gib}G"]
        await run_confined(command, _jail_for(target, behind), timeout_s=_TOOL_TIMEOUT_S)

    async def make_seed(self, path: Path, contents: SeedContents, uid: int | None = None) -> None:
        """Write the instance's seed; see :func:`insula.node.storage.seed.write_seed`."""
        await asyncio.to_thread(write_seed, path, contents, uid)

    async def rewrite_seed(self, path: Path, contents: SeedContents) -> None:
        """See :func:`insula.node.storage.seed.rewrite_seed`."""
        await asyncio.to_thread(rewrite_seed, path, contents)


def _jail_for(disk: Path, behind: tuple[Path, ...]) -> Jail:
    """What a tool that works on a disk may see: a guest that broke out of its machine may have rewritten its header.

    It sees the disk and what that is made from, nothing else.
    """
    owner = disk.stat().st_uid
    return Jail(
        read_only=behind,
        read_write=(disk,),
        uid=owner if owner != os.geteuid() else None,
        groups=groups_to_read(behind) if owner != os.geteuid() else (),
        dies_with_us=True,
    )


def _header_of(disk: Path) -> Qcow2Header:
    if not disk.is_file() or disk.is_symlink():
        raise NotFound(
            f"There is no disk {disk.name}",
            why=f"{disk} does not exist",
            todo="Restore it from a backup, or make what it belongs to again",
        )
    return read_qcow2(disk)


def _check_size(size_gib: int, least_gib: int, name: str) -> None:
    if least_gib <= size_gib <= MAX_SIZE_GIB:
        return
    raise InvalidInput(
        f"A disk of {size_gib} GiB cannot be made",
        why=f"It must have {least_gib} GiB (the size of {name}) to {MAX_SIZE_GIB} GiB",
        todo="Choose a size or a plan within that",
        code="invalid-disk-size",
        fields={"disk_gib": f"{least_gib} to {MAX_SIZE_GIB}"},
    )


def _chain_behind(disk: Path, backing_file: str) -> Iterator[Path]:
    """What a disk is made from: layers, a template and at last an image; nothing else is accepted as that.

    What was restored is a layer that is made from nothing.
    """
    backing = Path(backing_file)
    for _ in range(_DEEPEST):
        if backing == Path():
            return
        if not backing.is_absolute() or backing.is_symlink():
            break
        yield backing
        if (backing.parent / MANIFEST_FILE).is_file():
            return
        if backing.name != DISK_FILE or not any((backing.parent / name).is_file() for name in _MADE_FROM):
            break
        backing = Path(read_qcow2(backing).backing_file)
    raise _foreign(disk, backing_file)


def _foreign(disk: Path, backing_file: str) -> DataCorrupt:
    return DataCorrupt(
        f"The disk {disk} names a backing file that is no image",
        why=f"Its header names {backing_file[:200]!r}; only this node's images, templates and layers may be that",
        todo="Restore the disk from a backup or rebuild the instance: the file was changed from outside",
        code="foreign-backing-file",
    )

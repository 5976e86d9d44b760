"""Makes an image of an instance's disk, out of which what is its own was taken."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from insula.base.clock import now_utc
from insula.base.run import run
from insula.domain.image import ImageSource
from insula.node.storage.backend import Publication
from insula.node.storage.making import Made
from insula.node.storage.manifest import DISK_FILE, ImageFacts, KernelFiles
from insula.protocol.node import Progress

_COPY_TIMEOUT_S = 300.0


class Published:
    """`fill` writes the disk; the kernel is the one that the instance booted with."""

    def __init__(self, wanted: Publication, fill: Callable[[Path], Awaitable[None]]) -> None:
        self._wanted = wanted
        self._fill = fill
        base = wanted.base
        self.facts = ImageFacts(
            name=wanted.name,
            title=wanted.title,
            source=ImageSource.PUBLISHED,
            provisioning=base.image.provisioning,
            has_agent=base.image.has_agent,
            firmwares=base.firmwares,
            machine_types=base.machine_types,
            min_memory_mib=base.image.min_memory_mib,
            min_disk_gib=base.image.min_disk_gib,
            trust="As far as whoever published it: it holds what was on an instance's disk.",
            renew=base.renew,
            platform=base.image.platform,
        )

    @property
    def digest(self) -> str:
        """A published image is never made again, so it only tells two of them apart."""
        return hashlib.sha256(self._wanted.name.encode()).hexdigest()

    async def make(self, folder: Path, progress: Progress) -> Made:
        """Write the disk and copy the kernel's files."""
        boot = self._wanted.base.direct_boot
        await self._fill(folder / DISK_FILE)
        if boot is None:
            return Made(version=f"{now_utc():%Y-%m-%d}")
        progress("Copying the kernel", 95)
        files = {
            "kernel": boot.kernel,
            "initrd": boot.initrd,
            "vmlinux": boot.unpacked_kernel,
            "initrd-emulated": boot.unsigned_initrd,
        }
        for name, source in files.items():
            if source is not None:
                copy = ["cp", "--reflink=auto", "--", str(source.absolute()), str(folder / name)]
                await run(copy, timeout_s=_COPY_TIMEOUT_S)
        names = [name if source is not None else "" for name, source in files.items()]
        return Made(f"{now_utc():%Y-%m-%d}", KernelFiles(*names), boot.command_line)

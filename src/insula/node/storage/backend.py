"""What the node needs of storage: images to boot and disks made from them.

`ImageLibrary` and `Disks` implement these on real files; `memory` does it without starting a program, for the fake
driver. Every method may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from insula.domain.image import Image
from insula.domain.instance import Firmware, MachineType, Platform
from insula.domain.volume import FileSystem
from insula.node.storage.extents import Part
from insula.node.storage.identity import Identity
from insula.protocol.node import Progress


@dataclass(frozen=True)
class KernelBoot:
    """A kernel that belongs to an image and is loaded without a boot loader.

    `unpacked_kernel` is the same kernel as an ELF file that starts through its PVH entry, `unsigned_initrd` the same
    initial root with modules whose signatures are taken off; see :meth:`BootableImage.boot_for`.
    """

    kernel: Path
    initrd: Path | None
    command_line: str
    unpacked_kernel: Path | None = None
    unsigned_initrd: Path | None = None


@dataclass(frozen=True)
class BootableImage:
    """An image that is ready. `disk` is a read-only qcow2 file (0644), the backing file of instances' disks.

    `behind` are the further files of its chain: a template's disk is based on that of its image, a child's on that of
    the instance that was forked. `disks` are all of them. `firmwares` and `machine_types` are all that the image boots
    with; `image` names the ones it prefers. `renew` lists what must be made anew before a copy of a *running* guest of
    this image may be somebody else (`random`, `clock`, `mac`, `hostname`, `keys`, `host-keys`, `machine-id`, `boot-id`,
    `random-seed`, `journal`); `random` among them says that the guest does all that is listed itself, by
    `/usr/lib/insula/renew`.
    """

    name: str
    image: Image
    disk: Path
    direct_boot: KernelBoot | None = None
    firmwares: tuple[Firmware, ...] = (Firmware.BIOS, Firmware.UEFI)
    machine_types: tuple[MachineType, ...] = (MachineType.Q35,)
    renew: tuple[str, ...] = ()
    behind: tuple[Path, ...] = ()

    @property
    def disks(self) -> tuple[Path, ...]:
        return (self.disk, *self.behind)

    def boot_for(self, firmware: Firmware, accelerator: str) -> KernelBoot | None:
        """The kernel to start a machine with, None when the image's own boot loader shall do it.

        An emulated CPU needs 3.4 s to unpack Debian's kernel (xz), 1.1 s to check the signatures of twenty modules that
        we hand over ourselves, and 2.3 s for self-tests of ciphers that look for faulty hardware; it is spared them.
        Real CPUs do all that in a tenth of a second, and the unpacking code also places the kernel at a random address.
        UEFI can start only the packed one.
        """
        boot = self.direct_boot
        if boot is None or accelerator == "kvm":
            return boot
        unpacked = boot.unpacked_kernel if firmware is not Firmware.UEFI else None
        return replace(
            boot,
            kernel=unpacked or boot.kernel,
            initrd=boot.unsigned_initrd or boot.initrd,
            command_line=f"{boot.command_line} cryptomgr.notests",
        )


@dataclass(frozen=True)
class SeedContents:
    """What a guest learns at its first boot. `network` is a cloud-init network configuration, DHCP when empty.

    Without an `identity` each seed that is made has a new one.
    """

    instance_id: str
    hostname: str
    ssh_keys: tuple[str, ...] = ()
    user_data: str = ""
    network: str = ""
    identity: Identity | None = None


@dataclass(frozen=True)
class Publication:
    """An image that is made of an instance's disk. `name` is its id, `base` what the instance booted with."""

    name: str
    title: str
    base: BootableImage


class ImageSource(Protocol):
    """The images of a node."""

    async def list(self) -> Sequence[Image]: ...
    async def prepare(self, name: str, progress: Progress) -> Image: ...
    async def import_file(
        self, name: str, path: Path, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image: ...
    async def publish(
        self, wanted: Publication, fill: Callable[[Path], Awaitable[None]], progress: Progress
    ) -> Image: ...  # `fill` writes the disk, a qcow2 file of its own; one that is there is left as it is
    async def delete(self, name: str) -> None: ...
    async def bootable(self, name: str) -> BootableImage: ...  # NotFound, or Conflict while it is not ready
    async def clean(self) -> Sequence[Path]: ...  # removes what killed makers left
    async def remove_superseded(self, in_use: frozenset[Path]) -> Sequence[Path]: ...  # old versions no disk needs


class DiskContent(Protocol):
    """The bytes of an open disk. One call at a time, of at most 32 MiB."""

    size_bytes: int

    async def parts(
        self, layers: int | None = None
    ) -> Sequence[Part]: ...  # in order; changed is what is in the topmost `layers`, None for all that is not zeros
    async def read(self, offset: int, length: int) -> bytes: ...
    async def write(self, offset: int, data: bytes) -> None: ...


class DiskBackend(Protocol):
    """Disks of instances. A target is whole or absent, whatever happens; mode 0600, owned by `uid` (None: by us)."""

    async def clone(self, image: BootableImage, target: Path, size_gib: int, uid: int | None = None) -> None: ...
    async def layer(self, base: Path, target: Path, uid: int | None = None) -> None: ...  # over a disk, as large as it
    async def merge(self, target: Path, base: Path) -> None: ...  # takes in what lies between, and is based on `base`
    async def blank(self, target: Path, size_gib: int, file_system: FileSystem, label: str) -> None: ...  # for a volume
    async def flatten(self, disk: Path, target: Path) -> None: ...  # a copy that is based on no other file, 0644, ours
    async def clean(self, folder: Path) -> None: ...  # ends what a killed service left at work below it
    def opened(self, disk: Path) -> AbstractAsyncContextManager[DiskContent]: ...  # which nobody writes to meanwhile
    def filled(
        self, target: Path, size_bytes: int, uid: int | None = None
    ) -> AbstractAsyncContextManager[DiskContent]: ...  # a disk of its own, made of what the block writes
    async def check_alone(self, target: Path) -> None: ...  # DataCorrupt when it is no disk or needs another file
    async def grow(self, target: Path, size_gib: int) -> None: ...  # never shrinks: Conflict
    async def make_seed(self, path: Path, contents: SeedContents, uid: int | None = None) -> None: ...
    async def rewrite_seed(self, path: Path, contents: SeedContents) -> None: ...  # in place: a machine has it open

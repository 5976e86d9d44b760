"""What an image folder says about itself: `manifest.json` beside the files."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt
from insula.base.files import write_atomic
from insula.domain.image import Image, ImageSource, ImageState, Provisioning
from insula.domain.instance import Firmware, MachineType, Platform
from insula.node.storage.backend import BootableImage, KernelBoot

MANIFEST_FILE = "manifest.json"
DISK_FILE = "disk.qcow2"
LAYOUT = 1


@dataclass(frozen=True)
class KernelFiles:
    """File names of an image's kernel; an empty one means there is none."""

    kernel: str
    initrd: str = ""
    unpacked: str = ""  # the kernel's ELF file
    unsigned_initrd: str = ""  # with modules whose signatures are taken off

    def boot(self, folder: Path, command_line: str) -> KernelBoot:
        def path(name: str) -> Path | None:
            return folder / name if name else None

        return KernelBoot(
            folder / self.kernel, path(self.initrd), command_line, path(self.unpacked), path(self.unsigned_initrd)
        )


@dataclass(frozen=True)
class FileFacts:
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ImageFacts:
    """What whoever makes an image knows about it beforehand.

    `firmwares` and `machine_types` are what it boots with, the preferred one first. `trust` says in a sentence why the
    contents can be trusted, as far as they can.
    """

    name: str
    title: str
    source: ImageSource
    provisioning: Provisioning
    has_agent: bool
    firmwares: tuple[Firmware, ...]
    machine_types: tuple[MachineType, ...]
    min_memory_mib: int
    min_disk_gib: int
    trust: str
    renew: tuple[str, ...] = ()
    platform: Platform = Platform.NOCLOUD

    def image(self, state: ImageState, problem: str = "") -> Image:
        """The image as the rest of the product knows it, as far as it is known before it is made."""
        return Image(
            name=self.name,
            title=self.title,
            source=self.source,
            state=state,
            provisioning=self.provisioning,
            has_agent=self.has_agent,
            firmware=self.firmwares[0],
            machine_type=self.machine_types[0],
            min_memory_mib=self.min_memory_mib,
            min_disk_gib=self.min_disk_gib,
            problem=problem,
            platform=self.platform,
        )


@dataclass(frozen=True)
class Manifest:
    """One made image. `digest` names the recipe (or the upstream file) it was made from."""

    layout: int
    facts: ImageFacts
    version: str
    made_at: datetime
    digest: str
    virtual_bytes: int
    files: dict[str, FileFacts]
    kernel: KernelFiles | None = None
    command_line: str = ""
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def min_disk_gib(self) -> int:
        return max(1, -(-self.virtual_bytes >> 30))

    def image(self, size_bytes: int) -> Image:
        """The image as the rest of the product knows it."""
        return replace(
            self.facts.image(ImageState.READY),
            min_disk_gib=self.min_disk_gib,
            size_bytes=size_bytes,
            version=self.version,
            made_at=self.made_at,
        )

    def bootable(self, folder: Path) -> BootableImage:
        boot = self.kernel.boot(folder, self.command_line) if self.kernel else None
        return BootableImage(
            name=self.facts.name,
            image=self.image(occupied_bytes(folder)),
            disk=folder / DISK_FILE,
            direct_boot=boot,
            firmwares=self.facts.firmwares,
            machine_types=self.facts.machine_types,
            renew=self.facts.renew,
        )


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(Manifest)


def occupied_bytes(folder: Path) -> int:
    """What the files in `folder` take on the disk."""
    return sum(512 * path.stat().st_blocks for path in folder.iterdir())


def file_facts(path: Path) -> FileFacts:
    """Hash a file; takes seconds for a large one, so call it in a thread."""
    return FileFacts(_hash(path, "sha256"), path.stat().st_size)


async def hash_file(path: Path, algorithm: str) -> str:
    """The file's hash in hexadecimal digits; `algorithm` as :mod:`hashlib` names it."""
    return await asyncio.to_thread(_hash, path, algorithm)


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST_FILE, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n", mode=0o644)


def read_manifest(folder: Path) -> Manifest:
    """Read an image folder's manifest and check that its files are there with the right sizes.

    Raises :class:`DataCorrupt` that says what to do; the hashes are left to :func:`verify_files`.
    """
    try:
        manifest = _DECODER.decode((folder / MANIFEST_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise _damaged(folder, f"its {MANIFEST_FILE} cannot be read: {error}") from error
    if manifest.layout != LAYOUT:
        raise _damaged(folder, f"its layout is {manifest.layout}; this version knows {LAYOUT}")
    for name, facts in manifest.files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else -1
        if size != facts.size_bytes:
            found = "is missing" if size < 0 else f"has {size} bytes instead of {facts.size_bytes}"
            raise _damaged(folder, f"{name} {found}")
    return manifest


def verify_files(folder: Path) -> None:
    """Hash every file of an image and compare. Takes seconds: call it in a thread. Raises :class:`DataCorrupt`."""
    for name, facts in read_manifest(folder).files.items():
        if file_facts(folder / name) != facts:
            raise _damaged(folder, f"{name} was changed since the image was made")


def _damaged(folder: Path, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"The image in {folder} is damaged",
        why=f"In detail: {why}",
        todo="Delete the image and prepare it again; instances made from it need it as it was",
        code="damaged-image",
    )

"""Images and disks without image files or programs: for the fake driver.

Images are known by name only. A disk is a small text file that names its image and size, so that it can be moved,
grown and lost like a real one.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from insula.base.files import write_atomic
from insula.domain.disk import GIB, check_growth
from insula.domain.image import Image, ImageSource, ImageState, Provisioning
from insula.domain.instance import Firmware, MachineType, Platform
from insula.domain.volume import FileSystem
from insula.node.storage.backend import BootableImage, KernelBoot, Publication, SeedContents
from insula.node.storage.extents import Change, Part
from insula.protocol.node import Progress

_BLOCK_BYTES = 4096


def _image(name: str, title: str, min_memory_mib: int, min_disk_gib: int) -> Image:
    return Image(
        name=name,
        title=title,
        source=ImageSource.BUILT,
        state=ImageState.ABSENT,
        provisioning=Provisioning.INSULA,
        has_agent=True,
        firmware=Firmware.BIOS,
        machine_type=MachineType.Q35,
        min_memory_mib=min_memory_mib,
        min_disk_gib=min_disk_gib,
    )


_CATALOGUE = (_image("debian-12", "Debian 12 (imaginary)", 256, 2), _image("tiny", "Tiny (imaginary)", 64, 1))


class MemoryImages:
    """Implements ImageSource; what is ready is kept in one small file below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images = {image.name: image for image in _CATALOGUE}
        for place in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            entry = json.loads(place.read_bytes())
            platform = Platform(entry.get("platform", Platform.NOCLOUD))
            self._add(entry["name"], ImageSource(entry["source"]), entry["disk_gib"], platform)

    def _add(self, name: str, source: ImageSource, disk_gib: int = 1, platform: Platform = Platform.NOCLOUD) -> Image:
        made = replace(_image(name, f"{name} (imaginary)", 64, disk_gib), source=source, platform=platform)
        image = self._images.get(name) or made
        image = replace(image, state=ImageState.READY, size_bytes=4096, made_at=now_utc())
        self._images[name] = image
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = {"name": name, "source": source.value, "disk_gib": disk_gib, "platform": platform.value}
        write_atomic(self._folder / f"{name}.json", json.dumps(entry).encode())
        return image

    async def list(self) -> Sequence[Image]:
        return [self._images[name] for name in sorted(self._images)]

    async def prepare(self, name: str, progress: Progress) -> Image:
        """Ready at once. Raises NotFound for a name that is not in the catalogue."""
        self._find(name)
        progress("The imaginary image is ready", 100)
        return self._add(name, ImageSource.BUILT)

    async def import_file(
        self, name: str, path: Path, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image:
        """Takes any existing file for an image, without reading it."""
        if image_format not in {"qcow2", "raw"}:
            raise InvalidInput(
                f"{image_format[:40]} is no format that can be imported",
                why="Formats are qcow2 and raw",
                todo="Convert it to qcow2 first",
                code="unknown-format",
                fields={"format": "qcow2 or raw"},
            )
        if not path.is_file():
            raise NotFound(f"There is no file {path}", why="The node looked for it", todo="Check the path")
        progress("The imaginary image is ready", 100)
        return self._add(name, ImageSource.IMPORTED, platform=platform)

    async def publish(self, wanted: Publication, fill: Callable[[Path], Awaitable[None]], progress: Progress) -> Image:
        """Ready as soon as `fill` has written its disk, of which the size is kept."""
        if wanted.name not in self._images:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{wanted.name}.tmp"
            try:
                await fill(draft)
                _, size_gib = _read(draft)
            finally:
                draft.unlink(missing_ok=True)
            self._add(wanted.name, ImageSource.PUBLISHED, size_gib)
        return self._images[wanted.name]

    async def delete(self, name: str) -> None:
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        self._images.pop(name, None)
        self._images |= {image.name: image for image in _CATALOGUE if image.name == name}

    async def bootable(self, name: str) -> BootableImage:
        image = self._find(name)
        if image.state is not ImageState.READY:
            raise Conflict(
                f"Image {name} is not ready",
                why=f"It is {image.state}",
                todo=f"Make it first: `insula image prepare {name}`",
                code="image-not-ready",
            )
        disk = self._folder / f"{name}.json"
        return BootableImage(
            name, image, disk, KernelBoot(disk, disk, "console=ttyS0"), renew=("random", "machine-id", "hostname")
        )

    async def clean(self) -> Sequence[Path]:
        return ()

    async def remove_superseded(self, in_use: frozenset[Path]) -> Sequence[Path]:
        return ()

    def _find(self, name: str) -> Image:
        if name not in self._images:
            raise NotFound(
                f"There is no image {name[:80]!r}",
                why=f"Images are {', '.join(sorted(self._images))}",
                todo="Choose one of them",
                code="unknown-image",
            )
        return self._images[name]


class MemoryContent:
    """Implements DiskContent."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data.ljust(-(-len(data) // _BLOCK_BYTES) * _BLOCK_BYTES, b"\0"))
        self.size_bytes = len(self.data)

    async def parts(self, layers: int | None = None) -> Sequence[Part]:
        return [Part(0, self.size_bytes, Change.DATA)]

    async def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    async def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data


class MemoryDisks:
    """Implements DiskBackend with files of one line."""

    async def clean(self, folder: Path) -> None:
        """No program works on these."""

    async def clone(self, image: BootableImage, target: Path, size_gib: int, uid: int | None = None) -> None:
        write_atomic(target, _line(image.name, size_gib))

    async def layer(self, base: Path, target: Path, uid: int | None = None) -> None:
        entry = json.loads(base.read_bytes())
        write_atomic(target, _line(entry["image"], entry["size_gib"]))

    async def merge(self, target: Path, base: Path) -> None:
        _read(target)

    async def blank(self, target: Path, size_gib: int, file_system: FileSystem, label: str) -> None:
        write_atomic(target, _line(f"{file_system} {label}", size_gib))

    async def flatten(self, disk: Path, target: Path) -> None:
        write_atomic(target, _line(*_read(disk)))

    @contextlib.asynccontextmanager
    async def opened(self, disk: Path) -> AsyncIterator[MemoryContent]:
        """Its line, with zeros to the end of a block."""
        _read(disk)
        yield MemoryContent(disk.read_bytes())

    @contextlib.asynccontextmanager
    async def filled(self, target: Path, size_bytes: int, uid: int | None = None) -> AsyncIterator[MemoryContent]:
        content = MemoryContent(bytes(size_bytes))
        yield content
        write_atomic(target, bytes(content.data).rstrip(b"\0"))

    async def check_alone(self, target: Path) -> None:
        _read(target)

    async def grow(self, target: Path, size_gib: int) -> None:
        _, old_gib = _read(target)
        check_growth(old_gib * GIB, size_gib)
        # In place, since a disk keeps its identity when it grows.
        target.write_text(json.dumps({**json.loads(target.read_bytes()), "size_gib": size_gib}) + "\n")

    async def make_seed(self, path: Path, contents: SeedContents, uid: int | None = None) -> None:
        write_atomic(path, json.dumps({"hostname": contents.hostname}).encode())

    async def rewrite_seed(self, path: Path, contents: SeedContents) -> None:
        await self.make_seed(path, contents)


def _read(disk: Path) -> tuple[str, int]:
    try:
        entry = json.loads(disk.read_bytes())
        return str(entry["image"]), int(entry["size_gib"])
    except FileNotFoundError as error:
        raise NotFound(f"There is no disk {disk}", todo="Make it first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(f"{disk} is not a disk", why=str(error), todo="Rebuild the instance") from error


def _line(image: str, size_gib: int) -> bytes:
    """A disk, told from all others by its `id`."""
    return json.dumps({"image": image, "size_gib": size_gib, "id": secrets.token_hex(8)}).encode() + b"\n"

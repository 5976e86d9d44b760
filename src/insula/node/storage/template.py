"""What a template's folder says about itself: `template.json` beside the disk, the devices and the memory.

The time of change of `template.json` is the time of the template's last use.

A template is a guest that was booted once and frozen when it was ready. Instances go on from its memory and devices,
each with a disk of its own that is based on the template's disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt
from insula.base.files import write_atomic
from insula.node.storage.backend import BootableImage
from insula.node.storage.manifest import FileFacts, file_facts

TEMPLATE_FILE = "template.json"
DISK_FILE, DEVICES_FILE, MEMORY_FILE = "disk.qcow2", "devices", "memory"
NVRAM_FILE = "nvram.qcow2"  # only with UEFI: its variables
FILES = (DISK_FILE, DEVICES_FILE, MEMORY_FILE, NVRAM_FILE)
_LARGE = frozenset({DISK_FILE, MEMORY_FILE})  # hashing these at each start would take longer than a boot


@dataclass(frozen=True)
class TemplateFacts:
    """The content of `template.json`. A file's `sha256` is empty where only its size is compared.

    `image` is the name of its image, `image_disk` the disk of the image's version that it was booted from.
    """

    key: str
    image: str
    image_disk: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    made_at: datetime
    files: dict[str, FileFacts]


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(TemplateFacts)


@dataclass(frozen=True)
class Template:
    """A template that is whole, in its folder."""

    folder: Path
    facts: TemplateFacts

    @property
    def key(self) -> str:
        return self.facts.key

    @property
    def name(self) -> str:
        """Unlike its key, never another's."""
        return self.folder.name

    @property
    def disk(self) -> Path:
        return self.folder / DISK_FILE

    @property
    def devices(self) -> Path:
        return self.folder / DEVICES_FILE

    @property
    def memory(self) -> Path:
        return self.folder / MEMORY_FILE

    @property
    def nvram(self) -> Path | None:
        """The variables of a UEFI guest, to be copied beside each disk; None with BIOS."""
        return self.folder / NVRAM_FILE if NVRAM_FILE in self.facts.files else None

    def based(self, image: BootableImage) -> BootableImage:
        """The image with the template's disk, for disks of instances that go on from here."""
        return replace(image, disk=self.disk, behind=image.disks)

    def original(self, based: BootableImage) -> BootableImage:
        """What :meth:`based` was given."""
        return replace(based, disk=based.behind[0], behind=based.behind[1:])


def describe_files(folder: Path) -> dict[str, FileFacts]:
    """What is noted of a template's files. Blocking: call it from a thread."""
    return {name: _facts(folder / name) for name in FILES if name != NVRAM_FILE or (folder / name).exists()}


def write_template(folder: Path, facts: TemplateFacts) -> None:
    """Write `template.json`, which makes the folder a template: call it last."""
    write_atomic(folder / TEMPLATE_FILE, msgspec.json.format(msgspec.json.encode(facts)) + b"\n")


def read_facts(folder: Path) -> TemplateFacts:
    """Only what it says about itself. Raises :class:`DataCorrupt`."""
    try:
        return _DECODER.decode((folder / TEMPLATE_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise _damaged(folder, f"its {TEMPLATE_FILE} cannot be read: {error}") from error


def read_template(folder: Path) -> Template:
    """Read it, and check that its files are what they were; of large ones only the size.

    Blocking: call it from a thread. Raises :class:`DataCorrupt`.
    """
    facts = read_facts(folder)
    if facts.key != folder.name.rpartition("-")[0]:
        raise _damaged(folder, f"it says that its key is {facts.key[:80]}")
    for name in {*facts.files, DISK_FILE, DEVICES_FILE, MEMORY_FILE}:
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise _damaged(folder, f"{name} is missing")
        if _facts(path) != facts.files.get(name):
            raise _damaged(folder, f"{name} is not what it was")
    return Template(folder, facts)


def note_use(folder: Path) -> None:
    """An instance goes on from it now."""
    os.utime(folder / TEMPLATE_FILE)


def used_at(folder: Path) -> datetime:
    """When an instance went on from it last, or it was made. Raises FileNotFoundError."""
    return datetime.fromtimestamp((folder / TEMPLATE_FILE).stat().st_mtime, UTC)


def _facts(path: Path) -> FileFacts:
    return FileFacts("", path.stat().st_size) if path.name in _LARGE else file_facts(path)


def _damaged(folder: Path, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"The template in {folder} is damaged",
        why=f"In detail: {why}",
        todo="It is removed unless disks of instances need it, and made anew",
        code="damaged-template",
    )

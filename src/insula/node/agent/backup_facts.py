"""What is kept beside the disk in a backup: what its instance was, and the files that its machine starts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from insula.base.errors import DataCorrupt, Unsupported
from insula.domain.backup import Drill
from insula.domain.snapshot import Consistency
from insula.node.agent.backup_points import BackupPoint
from insula.node.agent.records import decode_path
from insula.node.storage.backend import BootableImage, KernelBoot
from insula.protocol.node import InstanceSpec

DISK, NVRAM = "disk", "nvram"
_FORMAT = 1


@dataclass(frozen=True)
class BackupFacts:
    """What a backup says about itself; `image` has names instead of paths."""

    spec: InstanceSpec
    image: BootableImage
    consistency: Consistency


def encode(point: BackupPoint) -> Mapping[str, Any]:
    """As plain values."""
    names = {name: Path(name) for name in files_of(point.image)}
    named = replace(point.image, disk=Path(DISK), behind=(), direct_boot=_moved(point.image.direct_boot, names))
    facts = BackupFacts(point.spec, named, point.consistency)
    return {"format": _FORMAT, **msgspec.to_builtins(facts, enc_hook=str)}


def decode(facts: Mapping[str, Any]) -> BackupFacts:
    """Raises Unsupported for those of a later version, and DataCorrupt."""
    if facts.get("format") != _FORMAT:
        raise Unsupported(
            "The backup was made by another version of Insula",
            why=f"What it says about its instance has format {facts.get('format')}, and this version knows {_FORMAT}",
            todo="Use the version that made it",
            code="backup-format",
        )
    try:
        return msgspec.convert({**facts}, BackupFacts, dec_hook=decode_path)
    except msgspec.ValidationError as error:
        raise DataCorrupt(
            "A backup does not say what its instance was", why=str(error), code="backup-damaged"
        ) from error


def drill_of(note: Mapping[str, Any]) -> Drill | None:
    """The drill that a note tells of; None when it tells of something else."""
    try:
        return msgspec.convert(note.get("drill"), Drill | None)
    except msgspec.ValidationError:
        return None


def note_of(drill: Drill) -> Mapping[str, Any]:
    return {"drill": msgspec.to_builtins(drill)}


def files_of(image: BootableImage) -> dict[str, Path]:
    """The files of the kernel that the machine starts with, by their names in the backup."""
    boot = image.direct_boot
    if boot is None:
        return {}
    found = {
        "kernel": boot.kernel,
        "initrd": boot.initrd,
        "unpacked-kernel": boot.unpacked_kernel,
        "unsigned-initrd": boot.unsigned_initrd,
    }
    return {name: path for name, path in found.items() if path is not None}


def placed(facts: BackupFacts, disk: Path, folder: Path) -> BootableImage:
    """The image with the disk and the kernel's files where they were restored to."""
    places = {name: folder / name for name in files_of(facts.image)}
    return replace(facts.image, disk=disk, behind=(), direct_boot=_moved(facts.image.direct_boot, places))


def _moved(boot: KernelBoot | None, places: Mapping[str, Path]) -> KernelBoot | None:
    if boot is None:
        return None
    return replace(
        boot,
        kernel=places["kernel"],
        initrd=places.get("initrd"),
        unpacked_kernel=places.get("unpacked-kernel"),
        unsigned_initrd=places.get("unsigned-initrd"),
    )

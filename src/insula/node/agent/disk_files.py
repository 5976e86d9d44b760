"""The files in an instance's folder that belong to one life of its disk, and come and go together."""

from __future__ import annotations

import shutil
from pathlib import Path

from insula.node.storage.template import NVRAM_FILE

NVRAM, SEED, DISK = NVRAM_FILE, "seed.iso", "disk.qcow2"
ASIDE = ".aside"  # what their names end with while others take their place
_ALL = (NVRAM, SEED, DISK)


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    draft = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, draft)
    draft.replace(target)


def unlink(folder: Path, suffix: str, keep: str = "") -> None:
    """Remove them all, but not the one that is called `keep`."""
    for name in _ALL:
        if name != keep:
            (folder / f"{name}{suffix}").unlink(missing_ok=True)


def rename(folder: Path, old: str, new: str) -> None:
    """Give them all another suffix."""
    # The disk goes last: its name tells whether the work was done.
    for name in _ALL:
        place = folder / f"{name}{old}"
        if place.exists():
            place.replace(folder / f"{name}{new}")

"""How much of the host's disk is written of the disks that were promised, which are thin."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from insula.node.storage.volumes import VolumeStore
from insula.protocol.node import DiskUse

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own is


def measure(instances: Path, kept: Sequence[Path], volumes: VolumeStore) -> DiskUse:
    """What lies in the folders of instances and in those `kept` of what they were, and in those of volumes.

    Blocking: looks at every file of them once.
    """
    own = sum(_written_bytes(folder) for parent in (instances, *kept) for folder in _entries(parent))
    return DiskUse(own, {volume_id: _written_bytes(volumes.folder_of(volume_id)) for volume_id in volumes.ids()})


def _written_bytes(folder: Path | os.DirEntry[str]) -> int:
    return sum(entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES for entry in _entries(folder))


def _entries(folder: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing when it is none, or is removed meanwhile."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return

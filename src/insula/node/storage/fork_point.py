"""What is left on disk of the instant at which an instance was forked: `forks/NAME` below a node's folder.

`disk.qcow2` is the disk up to that instant; the instance and its children have layers over it. `fork.json` beside it
says so; it is what tells such a disk from any other file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from insula.base.files import write_atomic

FORK_FILE = "fork.json"
DISK_FILE, DEVICES_FILE = "disk.qcow2", "devices"


@dataclass(frozen=True)
class ForkFacts:
    """The content of `fork.json`."""

    instance_id: str
    made_at: datetime


def begin(folder: Path, facts: ForkFacts, disk: Path) -> None:
    """Make the folder, with a second name for the instance's disk in it."""
    begin_alone(folder, facts)
    os.link(disk, folder / DISK_FILE)


def begin_alone(folder: Path, facts: ForkFacts) -> None:
    """Make the folder, for a disk that is still to be made."""
    folder.parent.mkdir(exist_ok=True)
    folder.parent.chmod(0o711)
    folder.mkdir(mode=0o711)
    write_atomic(folder / FORK_FILE, msgspec.json.encode(facts), mode=0o644)


def share(folder: Path, group: int | None) -> None:
    """Let the disk be read, but not changed, by the machines that are given this group. May be repeated.

    Without a group all machines run as our own user. It must not be readable for all, since it holds a guest's data.
    """
    disk = folder / DISK_FILE
    if group is None:
        disk.chmod(0o600)
        return
    os.chown(folder, os.geteuid(), group)
    folder.chmod(0o710)
    os.chown(disk, os.geteuid(), group)
    disk.chmod(0o640)

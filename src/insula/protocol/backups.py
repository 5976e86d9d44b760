"""What control and nodes tell each other about backup stores and the backups in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from insula.domain.backup import StorePlace
from insula.domain.snapshot import Consistency


@dataclass(frozen=True)
class StoreSpec:
    """A backup store. `rate_mib_s` limits what is sent to it, in MiB a second; 0 is no limit."""

    id: str
    place: StorePlace
    rate_mib_s: int = 0


@dataclass(frozen=True)
class StoreSecret:
    """What opens a store: access to its place, and the key of what is in it; empty where it is not needed.

    `private_key` is an SSH key as text.
    """

    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    recovery_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class StoreOpened:
    """A store that a node can use from now on; whoever has the `recovery_key` can read all backups in it."""

    recovery_key: str = field(repr=False)
    is_new: bool = False
    backups: int = 0


@dataclass(frozen=True)
class BackupReport:
    """A backup that is made.

    `size_bytes` is the disk's size, `read_bytes` what was read of it, `added_bytes` what came to the store. `based_on`
    is the backup since which changes were known; empty when all was read.
    """

    consistency: Consistency
    size_bytes: int
    read_bytes: int
    added_bytes: int
    paused_ms: int = 0
    frozen_ms: int = 0
    based_on: str = ""


@dataclass(frozen=True)
class DiskSource:
    """A backup in a store, of which a disk is made; with `damaged` although not all of it can be read any more."""

    store_id: str
    backup_id: str
    damaged: bool = False


@dataclass(frozen=True)
class DamagedObject:
    """An object of a store that is not what was written."""

    name: str
    why: str


@dataclass(frozen=True)
class DamagedBackup:
    """A backup that cannot be restored whole: the bytes (from, to) of its part that are lost."""

    id: str
    part: str
    ranges: tuple[tuple[int, int], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class StoreFindings:
    """What a check found. All backups that are not named are whole, as far as was looked."""

    objects: tuple[DamagedObject, ...] = ()
    backups: tuple[DamagedBackup, ...] = ()
    checked_packs: int = 0
    checked_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        return not (self.objects or self.backups)


@dataclass(frozen=True)
class FileEntry:
    """A file in a backup. `kind` is file, folder, link or other; `mode` has the permission bits."""

    name: str
    kind: str
    size_bytes: int
    mode: int
    modified_at: datetime

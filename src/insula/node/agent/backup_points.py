"""What a node remembers of the backups it makes: `backups/points/ID.json` below its folder.

A point names the layer that has the disk of a backup's instant. Until the backup is stored it is what a backup that was
cut off goes on from; after that it is what the next one to the same store is compared with, which takes its place then.
Layers that points name are in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from insula.base.errors import InvalidInput
from insula.base.files import remove_drafts, write_atomic
from insula.base.log import get_logger
from insula.domain.ids import Kind, is_id
from insula.domain.snapshot import Consistency
from insula.node.agent.records import decode_path
from insula.node.storage.backend import BootableImage
from insula.protocol.node import InstanceSpec

_log = get_logger(__name__)


@dataclass(frozen=True)
class BackupPoint:
    """The disk of `spec`'s instance at one instant is `image`; the store has it when it `is_stored`."""

    id: str
    store_id: str
    spec: InstanceSpec
    made_at: datetime
    image: BootableImage
    consistency: Consistency
    paused_ms: int = 0
    frozen_ms: int = 0
    is_stored: bool = False


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(BackupPoint, dec_hook=decode_path)


class BackupPoints:
    """All points of one node. Methods that touch files block: call them from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, BackupPoint] = {}

    @property
    def disks(self) -> frozenset[Path]:
        """All files that they are based on."""
        return frozenset(disk for point in self._known.values() for disk in point.image.disks)

    def load_all(self) -> None:
        """Read all of them; one that is damaged is told of and dropped, since the next backup does without."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_drafts(self._folder)
        for path in sorted(self._folder.glob("*.json")):
            try:
                point = _DECODER.decode(path.read_bytes())
            except ValueError as error:  # msgspec's errors are ValueErrors
                _log.error("what a backup was made of is not known any more", file=str(path), problem=str(error))
                path.unlink()
                continue
            self._known[point.id] = point

    def find(self, backup_id: str) -> BackupPoint | None:
        return self._known.get(backup_id)

    def of(self, instance_id: str) -> list[BackupPoint]:
        """All of an instance, oldest first."""
        found = (point for point in self._known.values() if point.spec.id == instance_id)
        return sorted(found, key=lambda point: point.made_at)

    def ids(self) -> list[str]:
        """All, oldest first."""
        return sorted(self._known)

    def in_store(self, store_id: str) -> list[str]:
        """The ids of all that are for a store."""
        return [point.id for point in self._known.values() if point.store_id == store_id]

    def is_stored(self, backup_id: str) -> bool:
        """Whether it is kept only so that the next one can be based on it."""
        return backup_id in self._known and self._known[backup_id].is_stored

    def reference(self, point: BackupPoint) -> BackupPoint | None:
        """The latest stored one of the same instance and store whose disk the point's is based on."""
        for other in reversed(self.of(point.spec.id)):
            is_alike = other.is_stored and other.store_id == point.store_id and other.id != point.id
            if is_alike and other.image.disk in point.image.disks:
                return other
        return None

    def save(self, point: BackupPoint) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.path_of(point.id), msgspec.json.encode(point, enc_hook=str))
        self._known[point.id] = point

    def stored(self, point: BackupPoint) -> None:
        """The store has it: it takes the place of those before it."""
        self.save(replace(point, is_stored=True))
        older = (each for each in self.of(point.spec.id) if each.store_id == point.store_id and each.is_stored)
        self.remove(each.id for each in older if each.id != point.id)

    def remove(self, backup_ids: Iterable[str]) -> None:
        """Remove them; nobody needs their layers any more. May be repeated."""
        for backup_id in list(backup_ids):
            self.path_of(backup_id).unlink(missing_ok=True)
            self.path_of(backup_id).with_suffix(".nvram").unlink(missing_ok=True)
            self._known.pop(backup_id, None)

    def nvram_of(self, backup_id: str) -> Path:
        """The file with the firmware's variables, which is there if the machine has some."""
        return self.path_of(backup_id).with_suffix(".nvram")

    def path_of(self, backup_id: str) -> Path:
        """Raises :class:`InvalidInput` for what is no backup's id (a path, say)."""
        if not is_id(backup_id, Kind.BACKUP):
            raise InvalidInput(
                f"{backup_id[:80]!r} is not a backup's id",
                why="An id looks like bkp_01hq4z… with 26 characters after bkp_",
                todo="Take the id from `insula backup list`",
                code="invalid-id",
            )
        return self._folder / f"{backup_id}.json"

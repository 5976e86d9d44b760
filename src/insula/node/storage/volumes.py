"""The volumes of a node: `volumes/ID` below its folder, with the disk and the node's own record `volume.json`.

While an instance has the volume, its disk belongs to the user of that instance, if instances have users of their own,
and its folder lets that user pass.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.base.files import write_atomic
from insula.domain.ids import Kind, is_id
from insula.node.runtime.uids import give_file
from insula.protocol.node import VolumeSpec

# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_DECODER = msgspec.json.Decoder(VolumeSpec)

DISK_FILE, RECORD_FILE = "volume.qcow2", "volume.json"


class VolumeStore:
    """All volumes of one node. Blocking (a few small files): call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, volume_id: str) -> Path:
        """The folder of a volume. Raises :class:`InvalidInput` for what is no volume's id (a path, say)."""
        if not is_id(volume_id, Kind.VOLUME):
            raise InvalidInput(
                f"{volume_id[:80]!r} is not a volume's id",
                why="An id looks like vol_01hq4z… with 26 characters after vol_",
                todo="Take the id from `insula volume show NAME`",
                code="invalid-id",
            )
        return self._folder / volume_id

    def disk_of(self, volume_id: str) -> Path:
        return self.folder_of(volume_id) / DISK_FILE

    def ids(self) -> list[str]:
        """Every volume that has a folder here, oldest first."""
        return sorted(entry.name for entry in self._folder.glob("*") if is_id(entry.name, Kind.VOLUME))

    def load(self, volume_id: str) -> VolumeSpec:
        """Its record. Raises :class:`NotFound` and :class:`DataCorrupt`."""
        record = self.folder_of(volume_id) / RECORD_FILE
        try:
            return _DECODER.decode(record.read_bytes())
        except FileNotFoundError as error:
            raise NotFound(
                f"This node has no volume {volume_id}",
                why=f"There is no {record}",
                todo="Look at `insula volume list`; one that no node has can be deleted",
                code="unknown-volume",
            ) from error
        except msgspec.MsgspecError as error:
            raise DataCorrupt(
                f"The record of volume {volume_id} is damaged",
                why=f"{record}: {error}",
                todo=f"Restore it; the disk beside it, {DISK_FILE}, is untouched",
            ) from error

    def save(self, spec: VolumeSpec) -> None:
        """Write its record, whole or not at all."""
        folder = self.folder_of(spec.id)
        # Instances' users pass through to what is theirs, but cannot list it.
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomic(folder / RECORD_FILE, msgspec.json.encode(spec))

    def remove(self, volume_id: str) -> None:
        """Remove all of it. May be repeated."""
        folder = self.folder_of(volume_id)
        if folder.exists():
            shutil.rmtree(folder)

    def lend(self, volume_id: str, uid: int | None) -> None:
        """Let an instance's user have it. May be repeated."""
        give_file(self.disk_of(volume_id), uid)
        if uid is not None:
            os.chown(self.folder_of(volume_id), os.geteuid(), uid)
            self.folder_of(volume_id).chmod(0o710)

    def lent_to(self, uid: int | None) -> list[str]:
        """The volumes that an instance's user has; none of ours is lent to ourselves."""
        if uid in (None, os.geteuid(), os.getegid()):
            return []
        return [volume_id for volume_id in self.ids() if self.folder_of(volume_id).stat().st_gid == uid]

    def take_back(self, volume_id: str) -> None:
        """Nobody but us has it any more. May be repeated, also when it is gone."""
        folder = self.folder_of(volume_id)
        if not folder.exists():
            return
        folder.chmod(0o700)
        os.chown(folder, os.geteuid(), os.getegid())
        with contextlib.suppress(FileNotFoundError):  # its making was cut short, or it was removed by hand
            give_file(self.disk_of(volume_id), os.geteuid())

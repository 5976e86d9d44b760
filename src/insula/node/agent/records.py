"""The node's own copy of every instance: `spec.json` in its folder, and `spec.json.backup` beside it.

A record says what the instance is and whether it should be on, so that a node keeps instances running with control
down and brings them back after the host has restarted. Both files are replaced atomically; a damaged one is told by
name, the backup takes its place, and other instances are not touched by it.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.base.files import write_atomic
from insula.base.log import get_logger
from insula.domain.ids import Kind, is_id
from insula.domain.instance import BootPhase
from insula.node.agent.phases import FIRMWARE
from insula.node.storage.backend import BootableImage
from insula.node.storage.identity import Identity
from insula.protocol.node import InstanceSpec

_log = get_logger(__name__)

_RECORDS = ("spec.json", "spec.json.backup")


@dataclass(frozen=True)
class BootRecord:
    """The latest boot: when it began (Unix time), and how it ended when it was ready.

    `offset` is where to read on in console.log: at the boot's begin, or behind what made it ready. `first` is the phase
    that it began in.
    """

    started_at_s: float
    offset: int = 0
    phases: tuple[BootPhase, ...] = ()
    ready_by: str = ""
    first: str = FIRMWARE


@dataclass(frozen=True)
class SavedMemory:
    """The file `memory` holds the guest as it was, for a machine on the same accelerator (kvm or tcg).

    With the id of a `snapshot` it is that snapshot's memory instead, which stays there.
    """

    accelerator: str
    snapshot: str = ""


@dataclass(frozen=True)
class Forking:
    """A fork of it that is under way: the name of the layer that its disk gets, and whether its guest `is_on`."""

    name: str
    is_on: bool


@dataclass(frozen=True)
class AttachedVolume:
    """A volume that the instance has, and its place on the machine's controller."""

    id: str
    slot: int


@dataclass(frozen=True)
class InstanceRecord:
    """One instance as this node knows it.

    `uid` is the unprivileged user of its processes, None for our own; `host_boot_id` names the host's boot in which its
    machine was started last. `template` is the key of the template that its disk, which was never started, was made
    from; `is_renewing` says that its machine may still be that template's guest. `point` is the same for the fork point
    that a child goes on from; a child that kept its identity `is_cut` off from the network for good. `is_member` says
    that it is nobody's instance but a member of the pool; from there it has its `identity`, until its guest knows whose
    it is.
    """

    spec: InstanceSpec
    desired_on: bool = False
    uid: int | None = None
    image: BootableImage | None = None  # what the disk was made from; the image may have a newer version by now
    image_aside: BootableImage | None = None  # the same for the disk that was set aside
    restarts: int = 0
    crashed: bool = False
    problem: str = ""
    boot: BootRecord | None = None
    host_boot_id: str = ""
    saved: SavedMemory | None = None
    template: str = ""
    is_renewing: bool = False
    point: str = ""
    is_cut: bool = False
    forking: Forking | None = None
    is_member: bool = False
    identity: Identity | None = None
    volumes: tuple[AttachedVolume, ...] = ()

    def volume(self, volume_id: str) -> AttachedVolume | None:
        """The attached volume of this id."""
        return next((each for each in self.volumes if each.id == volume_id), None)

    @property
    def is_lost(self) -> bool:
        """Whether it is a fork's child that can never start again, unless its machine runs and becomes itself."""
        return bool(self.point) and self.is_renewing

    def uses_image(self, name: str) -> bool:
        """Whether its disk, or the one set aside, is based on the image."""
        return any(image is not None and image.name == name for image in (self.image, self.image_aside))


@dataclass(frozen=True)
class _Envelope:
    digest: str
    record: msgspec.Raw


class Records:
    """The instance folders, `instances/ID` below a node's folder."""

    def __init__(self, folder: Path) -> None:
        self._instances = folder / "instances"

    @property
    def folder(self) -> Path:
        """The folder of folders."""
        return self._instances

    def make_folder(self) -> None:
        """Make the folder of folders. Users of instances pass through it to their own files, but cannot list it."""
        self._instances.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (self._instances, self._instances.parent, self._instances.parent.parent):
            mode = folder.stat().st_mode
            if mode & 0o111 != 0o111:  # one that is open already may belong to somebody else
                folder.chmod(mode | 0o111)

    def folder_of(self, instance_id: str) -> Path:
        """The folder of an instance. Raises :class:`InvalidInput` for what is no instance id (a path, say)."""
        if not is_id(instance_id, Kind.INSTANCE):
            raise InvalidInput(
                f"{instance_id[:80]!r} is not an instance's id",
                why="An id looks like ins_01hq4z… with 26 characters after ins_",
                todo="Take the id from `insula show NAME`",
                code="invalid-id",
            )
        return self._instances / instance_id

    def ids(self) -> list[str]:
        """Every instance that has a folder here, oldest first."""
        if not self._instances.is_dir():
            return []
        return sorted(entry.name for entry in self._instances.iterdir() if is_id(entry.name, Kind.INSTANCE))

    def load(self, instance_id: str) -> InstanceRecord:
        """Read a record; the backup when `spec.json` is damaged or missing.

        Raises :class:`NotFound` and, when both files are damaged, :class:`DataCorrupt` with their names.
        """
        main = self.folder_of(instance_id) / "spec.json"
        backup = main.with_name("spec.json.backup")
        problems = []
        for path in (main, backup):
            try:
                record = _decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except ValueError as error:  # msgspec's errors are ValueErrors
                problems.append(f"{path}: {error}")
                continue
            if problems:
                _log.error("a damaged record was replaced by its backup", instance_id=instance_id, problem=problems[0])
                self.save(record)
            return record
        if problems:
            raise DataCorrupt(
                f"The record of instance {instance_id} is damaged",
                why="; ".join(problems),
                todo=f"Restore {main}, or delete the instance; its disk in the same folder is untouched",
            )
        raise NotFound(
            f"This node has no instance {instance_id}",
            why=f"There is no {main}",
            todo="Look at `insula list`; an instance that control lists and no node has can be deleted",
        )

    def save(self, record: InstanceRecord) -> None:
        """Write a record and its backup, each atomically."""
        main = self.folder_of(record.spec.id) / "spec.json"
        main.parent.mkdir(mode=0o700, exist_ok=True)
        data = _encode(record)
        for path in (main, main.with_name("spec.json.backup")):
            write_atomic(path, data)

    def remove_empty(self, instance_id: str) -> None:
        """Remove a folder in which nothing is: whoever made or removed it was killed before or after its record was."""
        with contextlib.suppress(OSError):  # it has content, which may be somebody's disk
            self.folder_of(instance_id).rmdir()

    def remove(self, instance_id: str) -> None:
        """Remove all files of it; the record goes last, so that a removal that was cut short is repeated."""
        folder = self.folder_of(instance_id)
        if not folder.is_dir():
            return
        for entry in list(folder.iterdir()):
            if entry.name in _RECORDS:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        shutil.rmtree(folder, onerror=_unless_gone)


def _unless_gone(_call: object, _path: str, caught: tuple[type[BaseException], BaseException, TracebackType]) -> None:
    """A draft of the record may be put in its place while the folder is removed."""
    if not isinstance(caught[1], FileNotFoundError):
        raise caught[1]


def decode_path(kind: type, text: object) -> object:
    """For msgspec: paths are the only type that JSON does not know."""
    if kind is Path and isinstance(text, str):
        return Path(text)
    raise ValueError(f"a {kind.__name__} was not expected")


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_RECORD = msgspec.json.Decoder(InstanceRecord, dec_hook=decode_path)


def _encode(record: InstanceRecord) -> bytes:
    body = msgspec.json.encode(record, enc_hook=str)
    return msgspec.json.encode(_Envelope(hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))


def _decode(data: bytes) -> InstanceRecord:
    envelope = _ENVELOPE.decode(data)
    body = bytes(envelope.record)
    if hashlib.sha256(body).hexdigest() != envelope.digest:
        raise ValueError("its checksum does not fit its content")
    return _RECORD.decode(body)

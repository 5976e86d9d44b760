"""All that instances can be made from: images, snapshots and backups, which other vendors call images too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from insula.base.errors import Unsupported
from insula.control.actions.wishes import CreateWish, RebuildWish
from insula.domain.backup import Backup, BackupState
from insula.domain.ids import Kind, is_id
from insula.domain.image import Image
from insula.domain.snapshot import Snapshot, SnapshotState
from insula.frontends.dialects.dialect import Ask
from insula.frontends.dialects.records import ALL

_CATALOGUE = "image:"  # before the name of an image that has no id
Source = Image | Snapshot | Backup


@dataclass(frozen=True)
class Shelf:
    """All that instances can be made from here."""

    images: Sequence[Image]
    snapshots: Sequence[Snapshot]
    backups: Sequence[Backup]

    @property
    def all(self) -> Sequence[Source]:
        return (*self.images, *self.snapshots, *self.backups)


async def shelf(ask: Ask) -> Shelf:
    """Everything, the host's images first. What is being deleted is gone already."""
    snapshots = (await ask.actions.snapshots.list(ask.caller, limit=ALL)).items
    backups = (await ask.actions.backups.list(ask.caller, limit=ALL)).items
    return Shelf(
        (await ask.actions.images.list(ask.caller)).items,
        [one for one in snapshots if one.state in {SnapshotState.AVAILABLE, SnapshotState.CREATING}],
        [one for one in backups if one.state in {BackupState.AVAILABLE, BackupState.CREATING}],
    )


def record_of(source: Source) -> str:
    """What its number belongs to."""
    if isinstance(source, Image):
        return source.id or f"{_CATALOGUE}{source.name}"
    return source.id


async def of_record(ask: Ask, record: str) -> Source | None:
    """The one that a number belongs to, None when it is none of these. Raises NotFound for what is gone."""
    if is_id(record, Kind.SNAPSHOT):
        return await ask.actions.snapshots.show(ask.caller, record)
    if is_id(record, Kind.BACKUP):
        return await ask.actions.backups.show(ask.caller, record)
    if is_id(record, Kind.IMAGE):
        return await ask.actions.images.show(ask.caller, record)
    if record.startswith(_CATALOGUE):
        return await of_catalogue(ask, record.removeprefix(_CATALOGUE))
    return None


async def of_catalogue(ask: Ask, name: str) -> Image | None:
    """The host's image of this name."""
    offered = (await ask.actions.images.list(ask.caller)).items
    return next((one for one in offered if not one.id and one.name == name), None)


def launching(wish: CreateWish, source: Source) -> CreateWish:
    """The wish for an instance that goes on from it."""
    if isinstance(source, Snapshot):
        return replace(wish, snapshot=source.id)
    if isinstance(source, Backup):
        return replace(wish, backup=source.id)
    return replace(wish, image=source.reference)


def rebuilding(source: Source) -> RebuildWish:
    """The wish for a fresh disk of it. Raises Unsupported for what is not an image of its own."""
    if not isinstance(source, Image):
        raise Unsupported(
            f"An instance cannot be rebuilt from {source.name}",
            why="It is a snapshot or a backup, which holds one machine and no image for others",
            todo="Revert to it if it is a snapshot of the instance itself, or create a new instance from it",
        )
    return RebuildWish(image=source.reference)

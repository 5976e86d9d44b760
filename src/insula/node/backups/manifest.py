"""Manifests: what a backup consists of. Small, sealed, written last: a backup without one does not exist.

What is learned about a backup later, such as that it was restored and booted, is a note beside it: nothing that was
written once is changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec

from insula.base.errors import DataCorrupt, NotFound
from insula.node.backups.sealing import ID_BYTES, Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Tree
from insula.node.backups.turns import in_turns

BACKUPS = "backups/"
NOTES = "notes/"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Backup:
    """A backup: its disks by their names, and what the caller wants to know again (plain values).

    `added_bytes` is what it added to the store, index aside.
    """

    id: str
    made_at: datetime
    disks: Mapping[str, Tree]
    facts: Mapping[str, Any] = field(default_factory=dict)
    added_bytes: int = 0


class _Disk(msgspec.Struct):
    root: bytes
    size_bytes: int


class _Manifest(msgspec.Struct):
    id: str
    made_at: datetime
    disks: dict[str, _Disk]
    facts: dict[str, Any]
    added_bytes: int


# Made while the module is imported: msgspec crashes when two threads look at a type for the first time at once.
_MANIFEST = msgspec.json.Decoder(_Manifest)
_NOTE = msgspec.json.Decoder(dict[str, Any])


async def write_backup(target: Target, sealer: Sealer, backup: Backup) -> None:
    disks = {name: _Disk(tree.root, tree.size_bytes) for name, tree in backup.disks.items()}
    manifest = _Manifest(backup.id, backup.made_at, disks, dict(backup.facts), backup.added_bytes)
    name = f"{BACKUPS}{backup.id}"
    await target.put(name, sealer.seal(name.encode(), msgspec.json.encode(manifest)))


async def read_backup(target: Target, sealer: Sealer, backup_id: str) -> Backup:
    """Raises NotFound and DataCorrupt."""
    name = f"{BACKUPS}{backup_id}"
    try:
        stored = await target.get(name)
    except NotFound as error:
        raise NotFound(
            f"The store has no backup {backup_id[:80]}",
            why="None has this id, or it was removed",
            todo="Look at the list of its backups",
            code="unknown-backup",
        ) from error
    found = _decode(sealer.open(name.encode(), stored, at_most=_MOST_BYTES), _MANIFEST)
    trees = {disk: Tree(entry.root, entry.size_bytes) for disk, entry in found.disks.items()}
    return Backup(found.id, found.made_at, trees, found.facts, found.added_bytes)


async def backup_ids(target: Target) -> list[str]:
    """The ids of all backups, oldest first as far as ids tell."""
    return sorted([stored.name.removeprefix(BACKUPS) async for stored in target.list(BACKUPS)])


async def add_note(target: Target, sealer: Sealer, backup_id: str, note: Mapping[str, Any]) -> None:
    """Keep something that was learned about a backup."""
    name = f"{NOTES}{backup_id}/{secrets.token_hex(8)}"
    await target.put(name, sealer.seal(name.encode(), msgspec.json.encode(dict(note))))


async def read_notes(target: Target, sealer: Sealer, backup_id: str = "") -> dict[str, list[dict[str, Any]]]:
    """All notes by the ids of their backups, or those of one, as far as they are whole, in the order of writing."""
    below = f"{NOTES}{backup_id}/" if backup_id else NOTES
    names = [
        each.name for each in sorted([each async for each in target.list(below)], key=lambda each: each.modified_at_s)
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for name, note in zip(
        names, await in_turns(partial(_read_note, target, sealer, name) for name in names), strict=True
    ):
        if note is not None:
            found.setdefault(name.split("/")[1], []).append(note)
    return found


async def _read_note(target: Target, sealer: Sealer, name: str) -> dict[str, Any] | None:
    try:
        content = sealer.open(name.encode(), await target.get(name), at_most=_MOST_BYTES)
        return cast("dict[str, Any]", _decode(content, _NOTE))
    except (DataCorrupt, NotFound):
        return None


async def remove_notes(target: Target, backup_id: str) -> None:
    for name in [stored.name async for stored in target.list(f"{NOTES}{backup_id}/")]:
        await target.delete(name)


def _decode(content: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        found = decoder.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise DataCorrupt("A manifest of a backup cannot be read", why=str(error), code="backup-damaged") from error
    if isinstance(found, _Manifest) and any(len(disk.root) != ID_BYTES for disk in found.disks.values()):
        raise DataCorrupt("A manifest of a backup names no tree", code="backup-damaged")
    return found

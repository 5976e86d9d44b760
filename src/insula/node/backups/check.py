"""Checking: is everything there that backups need, and is it what was written?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from insula.base.errors import DataCorrupt, NotFound
from insula.node.backups.index import Index, PackFacts, read_index
from insula.node.backups.manifest import backup_ids, read_backup
from insula.node.backups.pack import PACKS, name_of, object_of, whole
from insula.node.backups.reader import Reader
from insula.node.backups.sealing import Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Tree, Unreadable, leaves


@dataclass(frozen=True)
class DamagedObject:
    """An object of the store that is not what it should be, and how many chunks are lost with it."""

    name: str
    why: str
    chunks: int = 0


@dataclass(frozen=True)
class DamagedDisk:
    """A disk of a backup that cannot be restored whole: `ranges` are the bytes (from, to) that are lost."""

    backup: str
    disk: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Findings:
    """What a check found; nothing is wrong when there is no damage. `lost_backups` are those without a manifest."""

    objects: tuple[DamagedObject, ...]
    disks: tuple[DamagedDisk, ...]
    lost_backups: Mapping[str, str] = field(default_factory=dict)
    checked_packs: int = 0
    checked_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        return not (self.objects or self.disks or self.lost_backups)


async def check(target: Target, sealer: Sealer, *, read_data: bool) -> Findings:
    """Look whether everything is there with its right size; with `read_data` every byte is read and compared."""
    index = await read_index(target, sealer)
    stored = {each.name: each.size_bytes async for each in target.list(PACKS)}
    objects = [DamagedObject(name, str(error)) for name, error in sorted(index.damaged.items())]
    lost: set[bytes] = set()
    read_bytes = 0
    for facts in index.packs.values():
        found, gone = await _check_pack(target, sealer, facts, stored.get(object_of(facts.name)), read_data)
        if found is not None:
            objects.append(found)
            lost |= gone
        read_bytes += facts.size_bytes if read_data else 0
    disks, lost_backups = await _check_backups(target, sealer, index, lost)
    return Findings(tuple(objects), tuple(disks), lost_backups, len(index.packs), read_bytes)


async def _check_pack(
    target: Target, sealer: Sealer, facts: PackFacts, size_bytes: int | None, read_data: bool
) -> tuple[DamagedObject | None, set[bytes]]:
    name = object_of(facts.name)
    if size_bytes is None:
        return DamagedObject(name, "it is gone", len(facts.entries)), {entry.id for entry in facts.entries}
    if size_bytes == facts.size_bytes and not read_data:
        return None, set()
    try:
        data = await target.get(name)
    except NotFound:
        return DamagedObject(name, "it is gone", len(facts.entries)), {entry.id for entry in facts.entries}
    if await asyncio.to_thread(name_of, data) == facts.name:
        return None, set()
    left = await asyncio.to_thread(whole, sealer, facts.entries, data)
    lost = {entry.id for entry in facts.entries} - {entry.id for entry in left}
    why = "its content is not what was written"
    if len(data) != facts.size_bytes:
        why = f"it has {len(data)} bytes instead of {facts.size_bytes}"
    return DamagedObject(name, why, len(lost)), lost


async def _check_backups(
    target: Target, sealer: Sealer, index: Index, lost: set[bytes]
) -> tuple[list[DamagedDisk], dict[str, str]]:
    reader = Reader(target, sealer, index)
    disks, lost_backups = [], {}
    for backup_id in await backup_ids(target):
        try:
            backup = await read_backup(target, sealer, backup_id)
        except NotFound:  # it was removed just now
            continue
        except DataCorrupt as error:
            lost_backups[backup_id] = str(error)
            continue
        for name, tree in backup.disks.items():
            ranges = await _lost_ranges(tree, reader, index, lost)
            if ranges:
                disks.append(DamagedDisk(backup_id, name, ranges))
    return disks, lost_backups


async def _lost_ranges(tree: Tree, reader: Reader, index: Index, lost: set[bytes]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    async for leaf in leaves(tree, reader.chunk, tolerant=True):
        if isinstance(leaf, Unreadable):
            ranges.append(tree.range_of(leaf.first, leaf.end))
            continue
        for chunk in leaf.chunks():
            if chunk.id in lost or chunk.id not in index:
                ranges.append(tree.range_of(chunk.number, chunk.number + 1))
    return _joined(ranges)


def _joined(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for begin, end in ranges:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return tuple(joined)

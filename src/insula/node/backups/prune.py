"""Pruning: what no backup needs any more is removed, packs that are mostly that are written anew.

New packs first, then an index that names all that stays, then the old index goes, then the old packs. Killed anywhere
in between, each kept backup finds its chunks; what is left over goes with the next prune.
"""

from __future__ import annotations

from dataclasses import dataclass

from insula.base.errors import DataCorrupt
from insula.node.backups import locks
from insula.node.backups.index import Index, PackFacts, read_index, write_part
from insula.node.backups.manifest import NOTES, backup_ids, read_backup
from insula.node.backups.pack import PACKS, object_of
from insula.node.backups.reader import Reader
from insula.node.backups.sealing import Sealer
from insula.node.backups.target import Target
from insula.node.backups.tree import Leaf, leaves
from insula.node.backups.writer import Writer

_LEAST_USED = 0.7  # a pack of which less is needed is written anew


@dataclass(frozen=True)
class Pruned:
    """What a prune did."""

    removed_packs: int
    rewritten_packs: int
    freed_bytes: int
    kept_bytes: int


async def prune(target: Target, sealer: Sealer) -> Pruned:
    """Remove what no backup needs; the caller works alone in the store.

    Raises DataCorrupt when a manifest, a page or the index is damaged: nobody knows then what is needed.
    """
    index = await read_index(target, sealer)
    if index.damaged:
        raise _unsure(f"{', '.join(sorted(index.damaged))} cannot be read")
    needed = await _needed(target, sealer, index)
    kept, mixed, unused = _sorted_out(index, needed)
    writer = Writer(target, sealer, Index())
    try:
        await _rewrite(writer, Reader(target, sealer, index), sealer, mixed, needed - _ids(kept))
    finally:
        await writer.close()
    if mixed or unused:
        await write_part(target, sealer, kept)
        for part in index.parts:
            await target.delete(part)
    freed = await _remove_packs(target, {facts.name for facts in kept} | writer.packs)
    await _remove_orphans(target)
    await locks.remove_drafts(target)
    kept_bytes = sum(facts.size_bytes for facts in kept) + writer.added_bytes
    return Pruned(len(unused), len(mixed), freed - writer.added_bytes, kept_bytes)


async def _needed(target: Target, sealer: Sealer, index: Index) -> set[bytes]:
    """The ids of all chunks and pages that backups need."""
    reader = Reader(target, sealer, index)
    needed: set[bytes] = set()

    async def page(page_id: bytes) -> bytes:
        content = await reader.chunk(page_id)
        needed.add(page_id)
        return content

    for backup_id in await backup_ids(target):
        for tree in (await read_backup(target, sealer, backup_id)).disks.values():
            async for leaf in leaves(tree, page, skip=lambda page_id, _first, _end: page_id in needed):
                if isinstance(leaf, Leaf):
                    needed.update(change.id for change in leaf.chunks())
    lost = sum(1 for chunk_id in needed if chunk_id not in index)
    if lost:
        raise _unsure(f"{lost} chunks that backups need are in no pack")
    return needed


def _sorted_out(index: Index, needed: set[bytes]) -> tuple[list[PackFacts], list[PackFacts], list[PackFacts]]:
    """Packs that stay, that are written anew, and that nobody needs."""
    kept, mixed, unused = [], [], []
    for facts in index.packs.values():
        # Of a chunk that is in two packs only the first counts, which is where it is read.
        used = sum(
            entry.length
            for entry in facts.entries
            if entry.id in needed and (place := index.find(entry.id)) is not None and place.pack == facts.name
        )
        if not used:
            unused.append(facts)
        elif used < _LEAST_USED * facts.size_bytes:
            mixed.append(facts)
        else:
            kept.append(facts)
    return kept, mixed, unused


def _ids(packs: list[PackFacts]) -> set[bytes]:
    return {entry.id for facts in packs for entry in facts.entries}


async def _rewrite(writer: Writer, reader: Reader, sealer: Sealer, packs: list[PackFacts], wanted: set[bytes]) -> None:
    for facts in packs:
        for entry in facts.entries:
            if entry.id in wanted:
                content = await reader.chunk(entry.id)
                await writer.add(entry.id, sealer.seal(entry.id, content))
    await writer.finish()


async def _remove_packs(target: Target, kept: set[str]) -> int:
    """Remove all packs but these, also those that no index knew; how many bytes that freed."""
    wanted = {object_of(pack) for pack in kept}
    surplus = [stored async for stored in target.list(PACKS) if stored.name not in wanted]
    for stored in surplus:
        await target.delete(stored.name)
    return sum(stored.size_bytes for stored in surplus)


async def _remove_orphans(target: Target) -> None:
    """Notes of backups that are gone."""
    known = set(await backup_ids(target))
    for name in [stored.name async for stored in target.list(NOTES)]:
        if name.removeprefix(NOTES).split("/")[0] not in known:
            await target.delete(name)


def _unsure(why: str) -> DataCorrupt:
    return DataCorrupt(
        "The backup store cannot be cleaned up",
        why=f"{why}, so nobody knows what is still needed",
        todo="Check the store, and remove the backups that are damaged",
        code="backup-damaged",
    )

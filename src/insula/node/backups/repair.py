"""Repairing: an index made anew from what is whole in the packs.

What is lost stays lost for the backups that needed it, until a later backup stores the same content again. Without a
repair later backups would count on chunks that are not there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from insula.base.errors import DataCorrupt, NotFound
from insula.node.backups.index import Index, PackFacts, read_index, write_part
from insula.node.backups.pack import PACKS, name_of, read_table, whole
from insula.node.backups.sealing import Sealer
from insula.node.backups.target import Target


@dataclass(frozen=True)
class Repaired:
    """How many chunks can be read, and how many of those that the index knew cannot."""

    whole_chunks: int
    lost_chunks: int


async def repair(target: Target, sealer: Sealer) -> Repaired:
    """Read all packs and write the index anew; the caller works alone in the store. Repeatable."""
    old = await read_index(target, sealer)
    packs = []
    for name in sorted([stored.name async for stored in target.list(PACKS)]):
        try:
            data = await target.get(name)
        except NotFound:
            continue
        facts = await asyncio.to_thread(_whole_part, sealer, old, name.rpartition("/")[2], data)
        if facts.entries:
            packs.append(facts)
    await write_part(target, sealer, packs)
    for part in (*old.parts, *old.damaged):
        await target.delete(part)
    found = {entry.id for facts in packs for entry in facts.entries}
    return Repaired(len(found), sum(1 for chunk_id in old.ids() if chunk_id not in found))


def _whole_part(sealer: Sealer, old: Index, pack: str, data: bytes) -> PackFacts:
    try:
        entries = read_table(sealer, data)
    except DataCorrupt:  # the index may still know what was in it
        entries = old.packs[pack].entries if pack in old.packs else ()
    return PackFacts(pack, len(data), entries if name_of(data) == pack else whole(sealer, entries, data))

"""Prune: what no backup in the store needs any more goes, whatever moment it is cut off in."""

from __future__ import annotations

from insula.base.clock import iso, now_utc, parse_iso
from insula.control.operations.backups.check_store import unchanged
from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.table import Ending, Facts, Step, Table, Work
from insula.domain.operation import Verb


async def prune(work: Work) -> Facts:
    began_at = now_utc()  # what is deleted meanwhile waits for the next one
    freed_bytes = await patiently(work, lambda: work.node.prune_store(work.target_store.id))
    return {"freed_bytes": freed_bytes, "pruned_at": iso(began_at)}


def succeeded(work: Work) -> Ending:
    fields = {"pruned_at": parse_iso(work.facts["pruned_at"])}
    return Ending(fields, result={"freed_bytes": work.facts["freed_bytes"]})


PRUNE_STORE = Table(
    Verb.PRUNE_STORE,
    (Step("prune", prune, no_undo="What it removes is of no use to anybody.", deadline_s=DEADLINE_S),),
    succeeded,
    unchanged,
)

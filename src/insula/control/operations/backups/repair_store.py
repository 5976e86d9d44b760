"""Repair: the store counts on what is whole only, so that the next backups store again what is lost."""

from __future__ import annotations

from insula.control.operations.backups.check_store import unchanged
from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.table import Ending, Facts, Step, Table, Work
from insula.domain.operation import Verb


async def repair(work: Work) -> Facts:
    return {"lost_pieces": await patiently(work, lambda: work.node.repair_store(work.target_store.id))}


def succeeded(work: Work) -> Ending:
    return Ending(result={"lost_pieces": work.facts["lost_pieces"]})


REPAIR_STORE = Table(
    Verb.REPAIR_STORE,
    (Step("repair", repair, no_undo="What it forgets cannot be read any more.", deadline_s=DEADLINE_S),),
    succeeded,
    unchanged,
)

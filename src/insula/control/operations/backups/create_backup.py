"""Create: what an instance's disk is at one instant goes to a store. Cut off, it goes on with the same instant."""

from __future__ import annotations

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.control.operations.backups.steps import DEADLINE_S, patiently, store_id
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.domain.backup import BackupState
from insula.domain.operation import Verb
from insula.domain.snapshot import Consistency

log = get_logger(__name__)


async def make(work: Work) -> Facts:
    found = work.target_backup
    report = await patiently(
        work,
        lambda: work.node.make_backup(found.instance_id, found.id, found.store_id, work.report.progress),
    )
    return {
        "consistency": report.consistency.value,
        "size_bytes": report.size_bytes,
        "read_bytes": report.read_bytes,
        "added_bytes": report.added_bytes,
        "paused_ms": report.paused_ms,
        "frozen_ms": report.frozen_ms,
        "based_on": report.based_on,
    }


async def give_up(work: Work) -> None:
    await work.node.abandon_backup(work.target_backup.id)
    try:
        await patiently(work, lambda: work.node.remove_backups(store_id(work), [work.target_backup.id]))
    except InsulaError as error:
        # Mostly it is the store that failed. It has no backup of this id, unless that was ended in the very moment of
        # a cancellation; then it is whole, and importing shows it.
        log.warning("a backup that failed was not looked for in its store", error=str(error))


def succeeded(work: Work) -> Ending:
    facts = work.facts
    fields = {
        "state": BackupState.AVAILABLE,
        "consistency": Consistency(facts["consistency"]),
        **{name: facts[name] for name in ("size_bytes", "read_bytes", "added_bytes", "based_on")},
    }
    return Ending(fields, result=dict(facts))


def failed(_work: Work, failure: Failure) -> Ending:
    if failure.undone:
        return Ending(remove=True)
    return Ending({"state": BackupState.FAILED, "problem": str(failure.error)})


CREATE_BACKUP = Table(Verb.CREATE_BACKUP, (Step("make", make, give_up, deadline_s=DEADLINE_S),), succeeded, failed)

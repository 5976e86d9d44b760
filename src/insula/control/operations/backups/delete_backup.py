"""Delete: the store forgets it; a prune gives the room back. Acceptance refused protected ones."""

from __future__ import annotations

from insula.control.operations.backups.steps import DEADLINE_S, patiently, store_id
from insula.control.operations.engine.table import Ending, Failure, Step, Table, Work
from insula.domain.backup import BackupState
from insula.domain.operation import Verb


async def remove(work: Work) -> None:
    await patiently(work, lambda: work.node.remove_backups(store_id(work), [work.target_backup.id]))


def succeeded(_work: Work) -> Ending:
    return Ending(remove=True)


def failed(_work: Work, failure: Failure) -> Ending:
    return Ending({"state": BackupState.FAILED, "problem": str(failure.error)})


DELETE_BACKUP = Table(
    Verb.DELETE_BACKUP,
    (
        Step(
            "remove",
            remove,
            no_undo="What is deleted is gone; deleting again goes on.",
            deadline_s=DEADLINE_S,
            final=True,
        ),
    ),
    succeeded,
    failed,
)

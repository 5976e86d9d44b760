"""Delete: its record and its memory go; of its disk what nobody else is based on. Acceptance refused protected ones."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Failure, Step, Table, Work
from insula.control.operations.snapshots.create_snapshot import remove
from insula.domain.operation import Verb
from insula.domain.snapshot import SnapshotState


def succeeded(_work: Work) -> Ending:
    return Ending(remove=True)


def failed(_work: Work, failure: Failure) -> Ending:
    return Ending({"state": SnapshotState.FAILED, "problem": str(failure.error)})


DELETE_SNAPSHOT = Table(
    Verb.DELETE_SNAPSHOT,
    (Step("remove", remove, no_undo="What is deleted is gone; deleting again goes on.", deadline_s=600.0, final=True),),
    succeeded,
    failed,
)

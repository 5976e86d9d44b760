"""Create: what the instance's disk is at one instant stays, with its guest's memory if that was wanted."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.domain.operation import Verb
from insula.domain.snapshot import Consistency, SnapshotKind, SnapshotState

MEMORY_DEADLINE_S = 3600.0


async def take(work: Work) -> Facts:
    found = work.target_snapshot
    report = await work.node.take_snapshot(found.instance_id, found.id, found.kind is SnapshotKind.MEMORY)
    return {
        "consistency": report.consistency.value,
        "size_bytes": report.size_bytes,
        "paused_ms": report.paused_ms,
        "frozen_ms": report.frozen_ms,
    }


async def remove(work: Work) -> None:
    await work.node.remove_snapshot(work.target_snapshot.id)


def succeeded(work: Work) -> Ending:
    facts, found = work.facts, work.target_snapshot
    fields = {
        "state": SnapshotState.AVAILABLE,
        "consistency": Consistency(facts["consistency"]),
        "size_bytes": facts["size_bytes"],
    }
    return Ending(fields, result=dict(facts), others={found.instance_id: {"snapshot_id": found.id}})


def failed(_work: Work, failure: Failure) -> Ending:
    if failure.undone:
        return Ending(remove=True)
    return Ending({"state": SnapshotState.FAILED, "problem": str(failure.error)})


CREATE_SNAPSHOT = Table(
    Verb.CREATE_SNAPSHOT, (Step("take", take, remove, deadline_s=MEMORY_DEADLINE_S),), succeeded, failed
)

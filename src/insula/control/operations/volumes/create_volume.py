"""Create: the volume's file, with its file system or what a backup holds, then its attachment, if it was asked for."""

from __future__ import annotations

from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.table import Ending, Failure, Step, Table, Work
from insula.control.operations.volumes.steps import (
    attach,
    back,
    goal,
    node_volume,
    settled,
    take_back,
)
from insula.domain.operation import Verb


async def make(work: Work) -> None:
    volume = node_volume(work.target_volume)
    if backup_id := str(work.params.get("backup_id") or ""):
        store_id = str(work.params["store_id"])
        await patiently(
            work,
            lambda: work.node.make_volume_from_backup(volume, store_id, backup_id, work.report.progress),
        )
    else:
        await work.node.make_volume(volume)


async def remove(work: Work) -> None:
    await work.node.remove_volume(work.target_volume.id)


async def attach_it(work: Work) -> None:
    await attach(work, goal(work))


def failed(work: Work, failure: Failure) -> Ending:
    return Ending(remove=True) if failure.undone else back(work, failure)


CREATE_VOLUME = Table(
    Verb.CREATE_VOLUME,
    (Step("make", make, remove, deadline_s=DEADLINE_S), Step("attach", attach_it, take_back)),
    settled,
    failed,
)

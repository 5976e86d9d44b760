"""Create: the volume's file, with its file system or what a backup holds, then its attachment, if it was asked for."""

from __future__ import annotations

from dataclasses import replace

from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.volumes.steps import (
    attach,
    back,
    goal,
    node_volume,
    settled,
    take_back,
)
from insula.domain.operation import Verb
from insula.protocol.backups import DiskSource


async def make(work: Work) -> Facts:
    volume = node_volume(work.target_volume)
    if backup_id := str(work.params.get("backup_id") or ""):
        source = DiskSource(str(work.params["store_id"]), backup_id, bool(work.params.get("damaged")))
        lost = await patiently(
            work,
            lambda: work.node.make_volume_from_backup(volume, source, work.report.progress),
        )
        return {"lost": [list(part) for part in lost]}
    await work.node.make_volume(volume)
    return {}


async def remove(work: Work) -> None:
    await work.node.remove_volume(work.target_volume.id)


async def attach_it(work: Work) -> None:
    await attach(work, goal(work))


def succeeded(work: Work) -> Ending:
    lost = work.facts.get("lost")
    return replace(settled(work), result={"lost": lost}) if lost else settled(work)


def failed(work: Work, failure: Failure) -> Ending:
    return Ending(remove=True) if failure.undone else back(work, failure)


CREATE_VOLUME = Table(
    Verb.CREATE_VOLUME,
    (Step("make", make, remove, deadline_s=DEADLINE_S), Step("attach", attach_it, take_back)),
    succeeded,
    failed,
)

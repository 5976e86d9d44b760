"""Create: image, configuration, disk, boot.

A guest that never becomes ready fails the creation, and everything is removed again, so that the name is free for the
next try; the error has the phase and the console's last lines. Who wants to look into it asks for `keep_failed`, which
leaves the instance with its machine in state *failed*.
"""

from __future__ import annotations

from insula.base.errors import GuestFailure, InsulaError
from insula.control.nodes.spec import node_spec
from insula.control.operations.backups.steps import DEADLINE_S, patiently
from insula.control.operations.engine.lanes import BOOT
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    await_ready,
    boot_result,
    broken,
    configure,
    connect,
    disconnect,
    ensure_image,
    halt,
    image_step,
    running_fields,
    stopped_fields,
)
from insula.domain.operation import Verb


async def forget(work: Work) -> None:
    await work.node.forget(work.target.id)


async def ensure_base(work: Work) -> None:
    """The image, unless it comes from a snapshot or a backup, which have all that they need."""
    if not (snapshot_id(work) or backup_id(work)):
        await ensure_image(work, work.target.image)


async def make_disk(work: Work) -> None:
    if snapshot_id(work):
        await work.node.make_disk_from_snapshot(
            node_spec(work.target), snapshot_id(work), bool(work.params["with_memory"])
        )
    elif backup_id(work):
        store_id = str(work.params["store_id"])
        await patiently(
            work,
            lambda: work.node.make_disk_from_backup(
                node_spec(work.target), store_id, backup_id(work), work.report.progress
            ),
        )
    else:
        await work.node.make_disk(node_spec(work.target), bool(work.params.get("cold")))


def snapshot_id(work: Work) -> str:
    """The snapshot that it goes on from; empty for none."""
    return str(work.params.get("snapshot_id") or "")


def backup_id(work: Work) -> str:
    """The backup that it is restored from; empty for none."""
    return str(work.params.get("backup_id") or "")


async def remove_disk(work: Work) -> None:
    await work.node.remove_disk(work.target.id)


async def start(work: Work) -> Facts:
    if not wants_start(work):
        return {}
    async with work.turn(BOOT):
        await work.node.start(work.target.id)
        return await await_ready(work)


def wants_start(work: Work) -> bool:
    return bool(work.params.get("start", True))


def keep_failed(work: Work, error: InsulaError) -> bool:
    return bool(work.params.get("keep_failed")) and isinstance(error, GuestFailure)


def succeeded(work: Work) -> Ending:
    if wants_start(work):
        return Ending(running_fields(work.facts), result=boot_result(work))
    return Ending(stopped_fields())


def failed(_work: Work, failure: Failure) -> Ending:
    return Ending(remove=True) if failure.undone else broken(failure)


CREATE_INSTANCE = Table(
    Verb.CREATE_INSTANCE,
    (
        image_step(ensure_base),
        Step("configure", configure, forget),
        Step("network", connect, disconnect, deadline_s=120),
        Step("disk", make_disk, remove_disk, deadline_s=DEADLINE_S),
        Step("boot", start, halt, deadline_s=BOOT_STEP.deadline_s),
    ),
    succeeded,
    failed,
    keep=keep_failed,
)

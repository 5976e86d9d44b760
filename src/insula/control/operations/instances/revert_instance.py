"""Revert: the instance is what it was when a snapshot of it was made; with memory its guest goes on from that instant.

What it was until now is set aside, and lost only when the guest of then has answered; when it does not, it comes back.
Its disk is then what there is after a power cut, since its machine is switched off at once: all is to be given up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.create_instance import remove_disk
from insula.control.operations.instances.rebuild_instance import bring_disk_back, drop_old_disk, set_disk_aside
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    back,
    boot,
    boot_again,
    boot_result,
    configure,
    halt,
    running_fields,
    stopped_fields,
    was_running,
)
from insula.domain.instance import Instance
from insula.domain.operation import Verb
from insula.domain.snapshot import Snapshot

_DROP = "drop old disk"


def goal(work: Work) -> Snapshot:
    """The snapshot, as it was when the operation was accepted."""
    return msgspec.convert(work.params["snapshot"], Snapshot)


def with_memory(work: Work) -> bool:
    return bool(work.params["with_memory"])


def reverted(work: Work) -> Instance:
    """The record as it will be: of what the instance has, its image and the size of its disk are the snapshot's."""
    then = goal(work)
    resources = replace(work.target.resources, disk_gib=then.resources.disk_gib)
    return replace(work.target, image=then.image, resources=resources, snapshot_id=then.id)


def runs_then(work: Work) -> bool:
    """A guest whose memory comes back runs; one that boots does so if it ran before."""
    return with_memory(work) or was_running(work)


async def check(work: Work) -> None:
    await work.node.check_snapshot(node_spec(reverted(work)), goal(work).id, with_memory(work))


async def configure_then(work: Work) -> None:
    await work.node.configure(node_spec(reverted(work)))


async def make_disk(work: Work) -> None:
    await work.node.make_disk_from_snapshot(node_spec(reverted(work)), goal(work).id, with_memory(work))


async def start(work: Work) -> Facts:
    return await boot(work) if runs_then(work) else {}


def new_fields(work: Work) -> dict[str, Any]:
    then = reverted(work)
    fields = running_fields(work.facts) if runs_then(work) else stopped_fields()
    return {**fields, "image": then.image, "resources": then.resources, "snapshot_id": then.snapshot_id}


def succeeded(work: Work) -> Ending:
    return Ending(new_fields(work), result=boot_result(work) if runs_then(work) else {})


def failed(work: Work, failure: Failure) -> Ending:
    if failure.step == _DROP:
        # It is what it was then; only the file of what it was until now is still there.
        return Ending({**new_fields(work), "problem": str(failure.error)})
    return back(work, failure)


REVERT_INSTANCE = Table(
    Verb.REVERT_INSTANCE,
    (
        Step("check", check, no_undo="It only looks, before anything is given up."),
        Step("stop", halt, boot_again, deadline_s=300),
        Step("set disk aside", set_disk_aside, bring_disk_back),
        Step("configure", configure_then, configure),
        Step("disk", make_disk, remove_disk, deadline_s=300),
        Step("boot", start, halt, deadline_s=BOOT_STEP.deadline_s),
        Step(_DROP, drop_old_disk, no_undo="The guest of then has answered; what it was is not needed.", final=True),
    ),
    succeeded,
    failed,
)

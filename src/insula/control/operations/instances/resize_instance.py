"""Resize: shut down, change the size, boot again; when the new size does not boot, the old one is put back.

A disk only grows, since a file system inside it would not survive the cut. Therefore a failure after the growth keeps
the larger disk, and the record says so.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.spec import node_spec
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    back,
    boot,
    boot_again,
    boot_result,
    configure,
    halt,
    running_fields,
    shut_down,
    stopped_fields,
    was_running,
)
from insula.domain.instance import Resources
from insula.domain.operation import Verb


def wanted(work: Work) -> Resources:
    return msgspec.convert(work.params["resources"], Resources)


async def grow(work: Work) -> Facts:
    if wanted(work).disk_gib > work.target.resources.disk_gib:
        await work.node.grow_disk(work.target.id, wanted(work).disk_gib)
    return {"grown": True}


async def change_size(work: Work) -> None:
    await work.node.configure(node_spec(replace(work.target, resources=wanted(work))))


async def boot_if_it_ran(work: Work) -> Facts:
    return await boot(work) if was_running(work) else {}


def succeeded(work: Work) -> Ending:
    size = {"resources": wanted(work), "plan": work.params.get("plan", work.target.plan)}
    if was_running(work):
        return Ending({**running_fields(work.facts), **size}, result=boot_result(work))
    return Ending({**stopped_fields(), **size})


def failed(work: Work, failure: Failure) -> Ending:
    ending = back(work, failure)
    if not work.facts.get("grown"):
        return ending
    kept = replace(work.target.resources, disk_gib=max(wanted(work).disk_gib, work.target.resources.disk_gib))
    return replace(ending, fields={**ending.fields, "resources": kept})


RESIZE_INSTANCE = Table(
    Verb.RESIZE_INSTANCE,
    (
        Step("stop", shut_down, boot_again, deadline_s=3600),
        Step("grow disk", grow, no_undo="A disk cannot shrink; a larger one serves as well.", deadline_s=300),
        Step("configure", change_size, configure),
        Step("boot", boot_if_it_ran, halt, deadline_s=BOOT_STEP.deadline_s),
    ),
    succeeded,
    failed,
)

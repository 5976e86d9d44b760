"""Resize: shut down, change the size, boot again; when the new size does not boot, the old one is put back.

A guest whose disk grows or whose limits change, and nothing else, runs on. A disk only grows, since a file system
inside it would not survive the cut. Therefore a failure after the growth keeps the larger disk, and the record says so.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    back,
    boot,
    boot_again,
    boot_result,
    halt,
    running_fields,
    shut_down,
    stopped_fields,
    was_running,
)
from insula.domain.instance import InstanceState, Resources
from insula.domain.operation import Verb


def wanted(work: Work) -> Resources:
    return msgspec.convert(work.params["resources"], Resources)


def runs_on(work: Work) -> bool:
    """Whether a guest that runs can have the new size without a reboot."""
    return was_running(work) and _fixed(wanted(work)) == _fixed(work.target.resources)


def _fixed(size: Resources) -> tuple[int, ...]:
    """What a machine is started with and keeps."""
    return size.vcpus, size.memory_mib


async def stop(work: Work) -> Facts:
    return {} if runs_on(work) else await shut_down(work)


async def start_again(work: Work) -> None:
    if not runs_on(work):
        await boot_again(work)


async def grow(work: Work) -> Facts:
    if wanted(work).disk_gib == work.target.resources.disk_gib:
        return {}
    report = await work.node.grow_disk(work.target.id, wanted(work).disk_gib)
    return {"disk_gib": wanted(work).disk_gib, "grown": list(report.grown), "todo": report.todo}


async def change_size(work: Work) -> None:
    await work.node.limit(node_spec(replace(work.target, resources=wanted(work))))


async def change_back(work: Work) -> None:
    await work.node.limit(node_spec(work.target))


async def boot_if_it_ran(work: Work) -> Facts:
    return await boot(work) if was_running(work) and not runs_on(work) else {}


async def halt_if_it_booted(work: Work) -> None:
    if not runs_on(work):
        await halt(work)


def succeeded(work: Work) -> Ending:
    size = {"resources": wanted(work), "plan": work.params.get("plan", work.target.plan)}
    growth: dict[str, object] = {name: work.facts[name] for name in ("grown", "todo") if name in work.facts}
    if runs_on(work):
        return Ending({"state": InstanceState.RUNNING, **size}, result={"rebooted": False, **growth})
    if was_running(work):
        result = {"rebooted": True, **boot_result(work)}
        return Ending({**running_fields(work.facts), **size}, result=result)
    return Ending({**stopped_fields(), **size})


def failed(work: Work, failure: Failure) -> Ending:
    ending = back(work, failure)
    if "disk_gib" not in work.facts:
        return ending
    kept = replace(work.target.resources, disk_gib=max(wanted(work).disk_gib, work.target.resources.disk_gib))
    return replace(ending, fields={**ending.fields, "resources": kept})


RESIZE_INSTANCE = Table(
    Verb.RESIZE_INSTANCE,
    (
        Step("stop", stop, start_again, deadline_s=3600),
        Step("grow disk", grow, no_undo="A disk cannot shrink; a larger one serves as well.", deadline_s=300),
        Step("configure", change_size, change_back),
        Step("boot", boot_if_it_ran, halt_if_it_booted, deadline_s=BOOT_STEP.deadline_s),
    ),
    succeeded,
    failed,
)

"""Fork: children go on from the present state of an instance, which goes on itself.

The fork point lives as long as the node's service. After a kill it is made anew for the children that are not there
yet: all that goes on from one instant is one instance's disk and memory, never two of them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from insula.base.errors import InsulaError, from_dict
from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.lanes import BOOT
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    READY_TIMEOUT_S,
    back,
    boot_facts,
    broken,
    running_fields,
    state_before,
)
from insula.domain.instance import BootPhase, Identity, Instance
from insula.domain.operation import Verb
from insula.protocol.node import Power

_MEMORY_DEADLINE_S = 3600.0
_LET_GO = "let go"


def children(work: Work) -> tuple[Instance, ...]:
    """The records of the children, as they were accepted."""
    return msgspec.convert(work.params["children"], tuple[Instance, ...])


def keeps_identity(work: Work) -> bool:
    return work.params.get("identity") == Identity.KEEP


async def take(work: Work) -> Facts:
    work.report.progress("Writing memory and devices down while the guest goes on")
    return {"paused_ms": await work.node.fork(work.target.id, work.operation.id, keeps_identity(work))}


async def let_go(work: Work) -> None:
    await work.node.drop_fork(work.operation.id)


async def bring_up(work: Work) -> Facts:
    """Make and start all children. One that fails is removed again and told of; it fails when all do."""
    living = {report.id for report in await work.node.observe() if report.power is Power.ON}
    wanted = children(work)
    if not all(child.id in living for child in wanted):
        await take(work)  # nothing happens unless the service was killed in between
    async with asyncio.TaskGroup() as group:
        tasks = {child.id: group.create_task(_bring_up(work, child)) for child in wanted}
    facts = {child_id: task.result() for child_id, task in tasks.items()}
    errors = [found["error"] for found in facts.values() if "error" in found]
    if len(errors) == len(facts):
        raise from_dict(errors[0])
    return {"children": facts}


async def _bring_up(work: Work, child: Instance) -> dict[str, Any]:
    node = work.node
    try:
        await node.configure(node_spec(child))
        await work.spaces.connect(child)
        await node.make_child(node_spec(child), work.operation.id, keeps_identity(work))
        async with work.turn(BOOT):
            await node.start(child.id)
            boot = await node.await_ready(child.id, READY_TIMEOUT_S, _untold)
    except InsulaError as error:
        work.report.progress(f"{child.name} failed: {error.what}")
        await node.forget(child.id)
        await work.spaces.disconnect(child)
        return {"error": error.to_dict()}
    work.report.progress(f"{child.name} is ready")
    return dict(boot_facts(boot))


def _untold(phase: BootPhase) -> None:
    """Phases of several guests at once would tell nobody anything."""


async def forget_children(work: Work) -> None:
    for child in children(work):
        await work.node.forget(child.id)
        await work.spaces.disconnect(child)


def succeeded(work: Work) -> Ending:
    boots = work.facts["children"]
    lived = [child for child in children(work) if "error" not in boots[child.id]]
    result = {
        "paused_ms": work.facts["paused_ms"],
        "children": [{"id": child.id, "name": child.name} for child in lived],
        "failed": [
            {"name": child.name, "error": boots[child.id]["error"]} for child in children(work) if child not in lived
        ],
    }
    others = {child.id: running_fields(boots[child.id]) if child in lived else None for child in children(work)}
    return Ending({"state": state_before(work)}, result=result, others=others)


def failed(work: Work, failure: Failure) -> Ending:
    if failure.step == _LET_GO:
        return succeeded(work)  # only the fork point's memory is still held, until the node's service ends
    ending = back(work, failure)
    gone = None if failure.undone else broken(failure).fields
    return Ending(ending.fields, others={child.id: gone for child in children(work)})


FORK_INSTANCE = Table(
    Verb.FORK_INSTANCE,
    (
        Step("fork point", take, let_go, deadline_s=_MEMORY_DEADLINE_S),
        Step("children", bring_up, forget_children, deadline_s=BOOT_STEP.deadline_s),
        Step(_LET_GO, let_go, no_undo="What the children need is theirs.", final=True),
    ),
    succeeded,
    failed,
)

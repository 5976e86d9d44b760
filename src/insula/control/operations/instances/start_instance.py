"""Start: tell the node what the record says, boot or go on from saved memory, wait until the guest answers."""

from __future__ import annotations

import contextlib

from insula.base.errors import Conflict
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    CONNECT_STEP,
    REFRESH_STEP,
    back,
    boot,
    boot_result,
    halt,
    hibernate,
    running_fields,
    state_before,
    stopped_fields,
)
from insula.domain.instance import InstanceState
from insula.domain.operation import Verb


def wakes(work: Work) -> bool:
    """Whether it goes on from memory that was saved."""
    return state_before(work) is InstanceState.HIBERNATED and not work.params.get("cold")


async def discard_memory(work: Work) -> Facts:
    if work.params.get("cold"):
        await work.node.discard_memory(work.target.id)
    return {}


async def lie_down(work: Work) -> None:
    """A guest that was woken is not switched off: its memory is saved again."""
    if not wakes(work):
        await halt(work)
        return
    # It may have ended by itself meanwhile; what it is then is observed and recorded.
    with contextlib.suppress(Conflict):
        await hibernate(work)


def succeeded(work: Work) -> Ending:
    return Ending(running_fields(work.facts), result=boot_result(work))


def failed(work: Work, failure: Failure) -> Ending:
    was_hibernated = state_before(work) is InstanceState.HIBERNATED
    if failure.undone and was_hibernated and not wakes(work):
        return Ending(stopped_fields())
    return back(work, failure)


START_INSTANCE = Table(
    Verb.START_INSTANCE,
    (
        Step("discard memory", discard_memory, no_undo="Who asks for a cold start gives up what was in memory."),
        REFRESH_STEP,
        CONNECT_STEP,
        Step("boot", boot, lie_down, deadline_s=BOOT_STEP.deadline_s),
    ),
    succeeded,
    failed,
)

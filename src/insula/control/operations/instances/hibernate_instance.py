"""Hibernate: the guest's memory goes to a file and its machine ends; a start goes on from there."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.steps import back, hibernate, pause, state_before
from insula.domain.instance import InstanceState
from insula.domain.operation import Verb

_MEMORY_DEADLINE_S = 3600.0


async def wake(work: Work) -> None:
    """Let it go on, from its saved memory when it has ended; a guest that stood still stands still again."""
    await work.node.start(work.target.id)
    if state_before(work) is InstanceState.PAUSED:
        await pause(work)


def succeeded(_work: Work) -> Ending:
    return Ending({"state": InstanceState.HIBERNATED, "started_at": None, "problem": ""})


HIBERNATE_INSTANCE = Table(
    Verb.HIBERNATE_INSTANCE,
    (Step("hibernate", hibernate, wake, deadline_s=_MEMORY_DEADLINE_S),),
    succeeded,
    back,
)

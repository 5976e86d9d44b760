"""Create: the volume's file with its file system, then its attachment, if it was asked for."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Failure, Step, Table, Work
from insula.control.operations.volumes.steps import (
    MAKE_DEADLINE_S,
    attach,
    back,
    goal,
    node_volume,
    settled,
    take_back,
)
from insula.domain.operation import Verb


async def make(work: Work) -> None:
    await work.node.make_volume(node_volume(work.target_volume))


async def remove(work: Work) -> None:
    await work.node.remove_volume(work.target_volume.id)


async def attach_it(work: Work) -> None:
    await attach(work, goal(work))


def failed(work: Work, failure: Failure) -> Ending:
    return Ending(remove=True) if failure.undone else back(work, failure)


CREATE_VOLUME = Table(
    Verb.CREATE_VOLUME,
    (Step("make", make, remove, deadline_s=MAKE_DEADLINE_S), Step("attach", attach_it, take_back)),
    settled,
    failed,
)

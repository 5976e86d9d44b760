"""Attach: the instance gets it, after the one that has it has let it go."""

from __future__ import annotations

from insula.control.operations.engine.table import Step, Table, Work
from insula.control.operations.volumes.steps import attach, back, detach, goal, is_forced, origin, settled, take_back
from insula.domain.operation import Verb


async def detach_from_other(work: Work) -> None:
    await detach(work, origin(work), force=is_forced(work))


async def give_back(work: Work) -> None:
    await attach(work, origin(work))


async def attach_it(work: Work) -> None:
    await attach(work, goal(work))


ATTACH_VOLUME = Table(
    Verb.ATTACH_VOLUME,
    (Step("detach from the other", detach_from_other, give_back), Step("attach", attach_it, take_back)),
    settled,
    back,
)

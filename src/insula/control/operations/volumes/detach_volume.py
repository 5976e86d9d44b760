"""Detach: the guest lets it go, and it belongs to nobody."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.volumes.steps import attach, back, goal, is_forced
from insula.domain.operation import Verb
from insula.domain.volume import VolumeState


async def detach_it(work: Work) -> None:
    # From whichever instance has it: one that an operation left half-way may not be where its record says.
    await work.node.detach_volume(work.target_volume.id, "", is_forced(work))


async def attach_again(work: Work) -> None:
    await attach(work, goal(work))


def succeeded(_work: Work) -> Ending:
    return Ending({"state": VolumeState.AVAILABLE, "instance_id": None})


DETACH_VOLUME = Table(Verb.DETACH_VOLUME, (Step("detach", detach_it, attach_again),), succeeded, back)

"""Grow: the volume's file, what its guest sees of it, and the file systems that are mounted from it.

A volume only grows. One whose growth failed may be larger than its record says; growing it again goes on.
"""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Facts, Step, Table, Work
from insula.control.operations.volumes.steps import MAKE_DEADLINE_S, back, grow_facts, settled, with_fields
from insula.domain.operation import Verb


def wanted_gib(work: Work) -> int:
    return int(work.params["size_gib"])


async def grow(work: Work) -> Facts:
    return grow_facts(await work.node.grow_volume(work.target_volume.id, wanted_gib(work)))


def succeeded(work: Work) -> Ending:
    result = {"size_gib": wanted_gib(work), **work.facts}
    return Ending(with_fields(settled(work), size_gib=wanted_gib(work)).fields, result=result)


GROW_VOLUME = Table(
    Verb.GROW_VOLUME,
    (Step("grow", grow, no_undo="It cannot shrink; a larger one serves as well.", deadline_s=MAKE_DEADLINE_S),),
    succeeded,
    back,
)

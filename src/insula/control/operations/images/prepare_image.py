"""Prepare an image: build it, or download and verify it."""

from __future__ import annotations

from insula.control.operations.engine.lanes import IMAGE
from insula.control.operations.engine.table import Facts, Step, Table, Work
from insula.control.operations.images.endings import DEADLINE_S, image_facts, result, unchanged
from insula.domain.operation import Verb


async def prepare(work: Work) -> Facts:
    async with work.turn(IMAGE):
        return image_facts(await work.node.prepare_image(work.operation.target, work.report.progress))


PREPARE_IMAGE = Table(
    Verb.PREPARE_IMAGE,
    (Step("prepare", prepare, no_undo="The node leaves nothing half-done behind.", deadline_s=DEADLINE_S),),
    result,
    unchanged,
)

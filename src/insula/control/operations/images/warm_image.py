"""Warm an image: make the template that new instances of one size go on from."""

from __future__ import annotations

import msgspec

from insula.control.operations.engine.lanes import IMAGE
from insula.control.operations.engine.table import Facts, Step, Table, Work
from insula.control.operations.images.endings import DEADLINE_S, image_facts, result, unchanged
from insula.domain.instance import Resources
from insula.domain.operation import Verb
from insula.protocol.node import InstanceSpec


async def warm(work: Work) -> Facts:
    name = work.operation.target
    resources = msgspec.convert(work.params["resources"], Resources)
    async with work.turn(IMAGE):
        image = await work.node.prepare_image(name, work.report.progress)
        work.report.progress(f"Booting {name} once, to freeze it when it is ready")
        await work.node.warm_image(InstanceSpec("", "", "", "", name, resources))
    return image_facts(image)


WARM_IMAGE = Table(
    Verb.WARM_IMAGE,
    (Step("template", warm, no_undo="The node leaves nothing half-done behind.", deadline_s=DEADLINE_S),),
    result,
    unchanged,
)

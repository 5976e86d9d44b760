"""Delete an image's files. Acceptance refused it while an instance is based on them."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.images.endings import unchanged
from insula.domain.operation import Verb


async def delete(work: Work) -> None:
    await work.node.delete_image(work.operation.target)


def succeeded(_work: Work) -> Ending:
    return Ending()


DELETE_IMAGE = Table(
    Verb.DELETE_IMAGE,
    (Step("delete", delete, no_undo="What is deleted is gone; it can be prepared again.", deadline_s=600, final=True),),
    succeeded,
    unchanged,
)

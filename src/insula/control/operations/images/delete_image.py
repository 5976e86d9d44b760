"""Delete an image's files. Acceptance refused it while an instance is based on them.

A published one is taken from everybody by its acceptance already. Its files go here if nothing uses them; if something
does, they stay until the collector finds that nothing does any more.
"""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.images.endings import unchanged
from insula.domain.ids import Kind, is_id
from insula.domain.operation import Verb


def stays(work: Work) -> bool:
    """Whether somebody still uses what is on the node."""
    return is_id(work.operation.target, Kind.IMAGE) and not work.params.get("unused")


async def delete(work: Work) -> None:
    if not stays(work):
        await work.node.delete_image(work.operation.target)


def succeeded(work: Work) -> Ending:
    if not is_id(work.operation.target, Kind.IMAGE):
        return Ending()
    return Ending(remove=not stays(work), result={"in_use": stays(work)})


DELETE_IMAGE = Table(
    Verb.DELETE_IMAGE,
    (Step("delete", delete, no_undo="What is deleted is gone; it can be prepared again.", deadline_s=600, final=True),),
    succeeded,
    unchanged,
)

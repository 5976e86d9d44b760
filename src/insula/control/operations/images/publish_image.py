"""Publish: an image of a snapshot's disk, or of an instance's, of which a snapshot is made and let go for that."""

from __future__ import annotations

import msgspec

from insula.control.operations.engine.lanes import IMAGE
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.images.endings import DEADLINE_S
from insula.domain.operation import Verb
from insula.domain.published import PublishedImage, PublishedState


def wanted(work: Work) -> PublishedImage:
    """The record as it was accepted."""
    return msgspec.convert(work.params["image"], PublishedImage)


def instance_id(work: Work) -> str:
    """The instance that it is made of; empty when that is a snapshot of the user's."""
    return str(work.params.get("instance_id") or "")


async def take(work: Work) -> None:
    if instance_id(work):
        await work.node.take_snapshot(instance_id(work), str(work.params["snapshot_id"]), False)


async def let_go(work: Work) -> None:
    if instance_id(work):
        await work.node.remove_snapshot(str(work.params["snapshot_id"]))


async def publish(work: Work) -> Facts:
    new = wanted(work)
    title = f"Published from {new.origin}"
    async with work.turn(IMAGE):
        made = await work.node.publish_image(new.id, title, str(work.params["snapshot_id"]), work.report.progress)
    return {"size_bytes": made.size_bytes}


async def delete(work: Work) -> None:
    await work.node.delete_image(wanted(work).id)


def succeeded(work: Work) -> Ending:
    new = wanted(work)
    told = {"id": new.id, "name": new.name, "version": new.version, "size_bytes": work.facts["size_bytes"]}
    return Ending({"state": PublishedState.AVAILABLE}, result=told)


def failed(_work: Work, failure: Failure) -> Ending:
    if failure.undone:
        return Ending(remove=True)
    return Ending({"state": PublishedState.FAILED, "problem": str(failure.error)})


PUBLISH_IMAGE = Table(
    Verb.PUBLISH_IMAGE,
    (
        Step("snapshot", take, let_go, deadline_s=600),
        Step("image", publish, delete, deadline_s=DEADLINE_S),
        Step("let go", let_go, no_undo="The image is whole without its snapshot.", deadline_s=600),
    ),
    succeeded,
    failed,
)

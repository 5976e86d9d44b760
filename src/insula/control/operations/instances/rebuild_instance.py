"""Rebuild: a new disk from an image, under the same name, address and size.

The old disk is set aside until the new one has booted; when it does not, the old one comes back.
"""

from __future__ import annotations

from dataclasses import replace

from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.table import Ending, Failure, Step, Table, Work
from insula.control.operations.instances.create_instance import remove_disk
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    back,
    boot_again,
    boot_result,
    configure,
    ensure_image,
    image_step,
    running_fields,
    shut_down,
)
from insula.domain.instance import Instance
from insula.domain.operation import Verb

_DROP = "drop old disk"


def rebuilt(work: Work) -> Instance:
    """The record as it will be."""
    params = work.params
    return replace(
        work.target,
        image=params.get("image") or work.target.image,
        ssh_keys=tuple(params["ssh_keys"]) if params.get("ssh_keys") is not None else work.target.ssh_keys,
        user_data=params["user_data"] if params.get("user_data") is not None else work.target.user_data,
    )


async def ensure_its_image(work: Work) -> None:
    await ensure_image(work, rebuilt(work).image)


async def set_disk_aside(work: Work) -> None:
    await work.node.set_disk_aside(work.target.id)


async def bring_disk_back(work: Work) -> None:
    await work.node.bring_disk_back(work.target.id)


async def configure_new(work: Work) -> None:
    await work.node.configure(node_spec(rebuilt(work)))


async def make_disk(work: Work) -> None:
    await work.node.make_disk(node_spec(rebuilt(work)))


async def drop_old_disk(work: Work) -> None:
    await work.node.drop_disk_aside(work.target.id)


def new_fields(work: Work) -> dict[str, object]:
    new = rebuilt(work)
    given = {"image": new.image, "ssh_keys": new.ssh_keys, "user_data": new.user_data, "snapshot_id": None}
    return {**running_fields(work.facts), **given}


def succeeded(work: Work) -> Ending:
    return Ending(new_fields(work), result=boot_result(work))


def failed(work: Work, failure: Failure) -> Ending:
    if failure.step == _DROP:
        # The new guest runs; only the old disk's file is still there.
        return Ending({**new_fields(work), "problem": str(failure.error)})
    return back(work, failure)


REBUILD_INSTANCE = Table(
    Verb.REBUILD_INSTANCE,
    (
        image_step(ensure_its_image),
        Step("stop", shut_down, boot_again, deadline_s=3600),
        Step("set disk aside", set_disk_aside, bring_disk_back),
        Step("configure", configure_new, configure),
        Step("disk", make_disk, remove_disk, deadline_s=300),
        BOOT_STEP,
        Step(_DROP, drop_old_disk, no_undo="The new disk has booted; the old one is not needed.", final=True),
    ),
    succeeded,
    failed,
)

"""Steps that several operations on instances share, and the endings that they have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from insula.base.clock import iso, now_utc, parse_iso
from insula.base.errors import NotFound
from insula.control.nodes.spec import node_spec
from insula.control.operations.engine.lanes import BOOT, IMAGE
from insula.control.operations.engine.table import Do, Ending, Facts, Failure, Step, Work
from insula.control.store import BEFORE
from insula.domain.image import ImageState
from insula.domain.instance import BootPhase, InstanceState
from insula.protocol.node import BootReport

READY_TIMEOUT_S = 900.0  # a full distribution with cloud-init, emulated, on a busy host
GRACEFUL_S = 60.0
_IMAGE_DEADLINE_S = 3 * 3600.0
_BOOT_DEADLINE_S = 24 * 3600.0  # await_ready has the user's own timeout


async def ensure_image(work: Work, name: str) -> None:
    """Prepare the image unless the node has it; one at a time, since a build takes the whole host."""
    if warning := work.params.get("warning"):
        work.report.progress(str(warning))
    for image in await work.node.images():
        if image.name == name and image.state is ImageState.READY:
            return
    async with work.turn(IMAGE):
        await work.node.prepare_image(name, work.report.progress)


async def boot(work: Work) -> Facts:
    """Start the machine and wait until the guest answers; one of a bounded number of boots at a time."""
    async with work.turn(BOOT):
        await work.node.start(work.target.id)
        return await await_ready(work)


async def await_ready(work: Work) -> Facts:
    """Wait until the guest answers; its phases are told as they come."""
    timeout_s = float(work.params.get("ready_timeout_s") or READY_TIMEOUT_S)
    return boot_facts(await work.node.await_ready(work.target.id, timeout_s, work.report.phase))


def boot_facts(report: BootReport) -> Facts:
    """A boot as plain values, for :func:`running_fields`."""
    started_at = now_utc() - timedelta(milliseconds=report.took_ms)
    return {
        "phases": msgspec.to_builtins(report.phases),
        "ready_by": report.ready_by,
        "boot_ms": report.took_ms,
        "started_at": iso(started_at),
    }


async def halt(work: Work) -> None:
    """End the machine at once: the undo of :func:`boot`."""
    with contextlib.suppress(NotFound):  # an undo that was cut off may have removed it already
        await work.node.stop(work.target.id, 0)


async def pause(work: Work) -> None:
    """Let the guest stand still."""
    await work.node.pause(work.target.id)


async def resume(work: Work) -> None:
    """Let it go on."""
    await work.node.resume(work.target.id)


async def hibernate(work: Work) -> None:
    """Save the guest's memory and end its machine."""
    await work.node.hibernate(work.target.id)


async def configure(work: Work) -> None:
    """Give the node the record as it is."""
    await work.node.configure(node_spec(work.target))


async def connect(work: Work) -> None:
    """Have its ports in the networks of its project."""
    await work.spaces.connect(work.target)


async def disconnect(work: Work) -> None:
    """Have them gone: the undo of :func:`connect`."""
    if work.instance is not None:
        await work.spaces.disconnect(work.instance)


async def shut_down(work: Work) -> Facts:
    """Let the guest shut down, and end the machine if it does not."""
    report = await work.node.stop(work.target.id, graceful_s(work))
    return {"way": report.way.value, "took_ms": report.took_ms}


async def boot_again(work: Work) -> None:
    """The undo of :func:`shut_down`: a guest that ran shall run again."""
    if was_running(work):
        await boot(work)


BOOT_STEP = Step("boot", boot, halt, deadline_s=_BOOT_DEADLINE_S)
CONNECT_STEP = Step("network", connect, no_undo="It repeats what the record says anyway.", deadline_s=120)
REFRESH_STEP = Step("configure", configure, no_undo="It repeats what the record says anyway.")


def image_step(do: Do) -> Step:
    """A step that ensures an image."""
    return Step(
        "image", do, no_undo="An image is shared; one that is ready harms nobody.", deadline_s=_IMAGE_DEADLINE_S
    )


def graceful_s(work: Work) -> float:
    """How long a guest may take to shut down by itself."""
    return float(work.params.get("graceful_s", GRACEFUL_S))


def state_before(work: Work) -> InstanceState:
    """The state that the operation began with; a guest that was restarting counts as running."""
    before = InstanceState(work.params[BEFORE])
    return InstanceState.RUNNING if before is InstanceState.STARTING else before


def was_running(work: Work) -> bool:
    """Whether the guest ran when the operation began."""
    return state_before(work) is InstanceState.RUNNING


def running_fields(boot: Facts) -> Mapping[str, Any]:
    """The record of an instance whose boot has just succeeded."""
    started_at: datetime = parse_iso(boot["started_at"])
    phases = msgspec.convert(boot["phases"], tuple[BootPhase, ...])
    return {"state": InstanceState.RUNNING, "boot_phases": phases, "started_at": started_at, "problem": ""}


def stopped_fields() -> Mapping[str, Any]:
    """The record of an instance whose machine is off."""
    return {"state": InstanceState.STOPPED, "started_at": None, "problem": ""}


def boot_result(work: Work) -> Mapping[str, Any]:
    """What a user wants to know of a boot."""
    return {"ready_by": work.facts["ready_by"], "took_ms": work.facts["boot_ms"]}


def back(work: Work, failure: Failure) -> Ending:
    """The common ending of a failure: as before when it was undone, else FAILED with the reason."""
    return Ending({"state": state_before(work)}) if failure.undone else broken(failure)


def broken(failure: Failure) -> Ending:
    """The ending of a failure that left things half-way."""
    return Ending({"state": InstanceState.FAILED, "problem": str(failure.error)})

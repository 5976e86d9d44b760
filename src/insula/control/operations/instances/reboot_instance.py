"""Reboot: the guest restarts, by itself or by the reset button, and answers again."""

from __future__ import annotations

from insula.base.errors import Cancelled
from insula.control.operations.engine.table import Ending, Facts, Failure, Step, Table, Work
from insula.control.operations.instances.steps import (
    BOOT_STEP,
    back,
    boot,
    broken,
    graceful_s,
    running_fields,
)
from insula.domain.operation import Verb


async def reboot(work: Work) -> Facts:
    report = await work.node.reboot(work.target.id, graceful_s(work))
    return {"way": report.way.value}


def succeeded(work: Work) -> Ending:
    return Ending(running_fields(work.facts), result={"way": work.facts["way"], "took_ms": work.facts["boot_ms"]})


def failed(work: Work, failure: Failure) -> Ending:
    # A guest that does not come back is failed, though nothing had to be undone.
    is_down = failure.step == "ready" and not isinstance(failure.error, Cancelled)
    return broken(failure) if is_down else back(work, failure)


REBOOT_INSTANCE = Table(
    Verb.REBOOT_INSTANCE,
    (
        Step("reboot", reboot, no_undo="What a guest has begun to restart comes back by itself.", deadline_s=3600),
        Step(
            "ready",
            boot,  # starting a machine that runs does nothing, and one that ended instead of restarting is started
            no_undo="Waiting changes nothing.",
            deadline_s=BOOT_STEP.deadline_s,
        ),
    ),
    succeeded,
    failed,
)

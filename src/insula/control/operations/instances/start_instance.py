"""Start: tell the node what the record says, boot, wait until the guest answers."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Table, Work
from insula.control.operations.instances.steps import BOOT_STEP, REFRESH_STEP, back, boot_result, running_fields
from insula.domain.operation import Verb


def succeeded(work: Work) -> Ending:
    return Ending(running_fields(work), result=boot_result(work))


START_INSTANCE = Table(Verb.START_INSTANCE, (REFRESH_STEP, BOOT_STEP), succeeded, back)

"""Stop: the guest gets its time to shut down, then the machine ends hard; the result says which it was."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.steps import back, shut_down, stopped_fields
from insula.domain.operation import Verb


def succeeded(work: Work) -> Ending:
    return Ending(stopped_fields(), result={"way": work.facts["way"], "took_ms": work.facts["took_ms"]})


STOP_INSTANCE = Table(
    Verb.STOP_INSTANCE,
    (
        Step(
            "stop",
            shut_down,
            no_undo="A guest that has begun to shut down cannot be held; what it does then is observed and recorded.",
            deadline_s=3600,
        ),
    ),
    succeeded,
    back,
)

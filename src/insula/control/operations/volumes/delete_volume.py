"""Delete: its file goes. Acceptance refused it while it is attached or protected."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.volumes.create_volume import remove
from insula.control.operations.volumes.steps import MAKE_DEADLINE_S, back
from insula.domain.operation import Verb


def succeeded(_work: Work) -> Ending:
    return Ending(remove=True)


DELETE_VOLUME = Table(
    Verb.DELETE_VOLUME,
    (
        Step(
            "remove",
            remove,
            no_undo="What is deleted is gone; deleting again goes on.",
            deadline_s=MAKE_DEADLINE_S,
            final=True,
        ),
    ),
    succeeded,
    back,
)

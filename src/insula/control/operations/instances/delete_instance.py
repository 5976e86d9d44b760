"""Delete: everything of the instance goes, in whatever state it is; protection was checked at acceptance."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.create_instance import forget
from insula.control.operations.instances.steps import back, disconnect
from insula.domain.operation import Verb

_GONE = "What is deleted is gone; deleting again goes on."


def succeeded(_work: Work) -> Ending:
    return Ending(remove=True)


DELETE_INSTANCE = Table(
    Verb.DELETE_INSTANCE,
    (
        Step("forget", forget, no_undo=_GONE, deadline_s=600, final=True),
        Step("network", disconnect, no_undo=_GONE, deadline_s=120, final=True),
    ),
    succeeded,
    back,
)

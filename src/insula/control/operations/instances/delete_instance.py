"""Delete: everything of the instance goes, in whatever state it is; protection was checked at acceptance."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.create_instance import forget
from insula.control.operations.instances.steps import back
from insula.domain.operation import Verb


def succeeded(_work: Work) -> Ending:
    return Ending(remove=True)


DELETE_INSTANCE = Table(
    Verb.DELETE_INSTANCE,
    (Step("forget", forget, no_undo="What is deleted is gone; deleting again goes on.", deadline_s=600, final=True),),
    succeeded,
    back,
)

"""Resume: a paused guest goes on where it stood."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.steps import back, pause, resume
from insula.domain.instance import InstanceState
from insula.domain.operation import Verb


def succeeded(_work: Work) -> Ending:
    return Ending({"state": InstanceState.RUNNING})


RESUME_INSTANCE = Table(Verb.RESUME_INSTANCE, (Step("resume", resume, pause),), succeeded, back)

"""Pause: the guest stands still, its memory kept."""

from __future__ import annotations

from insula.control.operations.engine.table import Ending, Step, Table, Work
from insula.control.operations.instances.steps import back, pause, resume
from insula.domain.instance import InstanceState
from insula.domain.operation import Verb


def succeeded(_work: Work) -> Ending:
    return Ending({"state": InstanceState.PAUSED})


PAUSE_INSTANCE = Table(Verb.PAUSE_INSTANCE, (Step("pause", pause, resume),), succeeded, back)

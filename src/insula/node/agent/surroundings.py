"""What all keepers of a node share."""

from __future__ import annotations

from dataclasses import dataclass, field

from insula.node.agent.background import Background
from insula.node.agent.changes import Changes
from insula.node.agent.first_start import FirstStarts
from insula.node.agent.launch import Launcher
from insula.node.agent.records import Records
from insula.node.agent.restart import RestartRules


@dataclass(frozen=True)
class Surroundings:
    """What every keeper of a node shares."""

    records: Records
    launcher: Launcher
    background: Background
    changes: Changes
    first_starts: FirstStarts
    rules: RestartRules = field(default_factory=RestartRules)

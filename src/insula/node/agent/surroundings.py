"""What all keepers of a node share."""

from __future__ import annotations

from dataclasses import dataclass, field

from insula.node.agent.background import Background
from insula.node.agent.changes import Changes
from insula.node.agent.forks import Forks
from insula.node.agent.launch import Launcher
from insula.node.agent.layers import Layers
from insula.node.agent.pool import Pool
from insula.node.agent.records import Records
from insula.node.agent.restart import RestartRules
from insula.node.agent.snapshot_store import SnapshotMemories
from insula.node.agent.templates import Templates
from insula.node.agent.volumes import Volumes


@dataclass(frozen=True)
class Surroundings:
    """What every keeper of a node shares."""

    records: Records
    launcher: Launcher
    background: Background
    changes: Changes
    templates: Templates
    pool: Pool
    layers: Layers
    forks: Forks
    memories: SnapshotMemories
    volumes: Volumes
    rules: RestartRules = field(default_factory=RestartRules)

"""What a node is made of: chosen by `assemble`, or by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from insula.node.agent.doctor import DriverChecks
from insula.node.agent.pool_rules import PoolRules
from insula.node.agent.restart import RestartRules
from insula.node.agent.template_rules import TemplateRules
from insula.node.hypervisor.driver import Driver
from insula.node.network.wiring import InstanceNetwork
from insula.node.runtime.cgroups import Cgroups
from insula.node.runtime.uids import UidRange
from insula.node.storage.backend import DiskBackend, ImageSource


@dataclass(frozen=True)
class NodeParts:
    """What a node is made of. `folder` holds its `images` and `instances`.

    `uids` gives each instance a user of its own; None where the service may not change users. `cgroups` are the
    driver's, None when it has none.
    """

    name: str
    folder: Path
    driver: Driver
    images: ImageSource
    disks: DiskBackend
    network: InstanceNetwork
    uids: UidRange | None = None
    cgroups: Cgroups | None = None
    driver_checks: DriverChecks | None = None
    rules: RestartRules = field(default_factory=RestartRules)
    templates: TemplateRules = field(default_factory=TemplateRules)
    pool: PoolRules = field(default_factory=PoolRules)

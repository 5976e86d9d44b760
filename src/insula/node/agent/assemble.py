"""A node made from settings: the one place that chooses its parts."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence

from insula.base.settings import Settings
from insula.node.agent.node import Node
from insula.node.agent.parts import NodeParts
from insula.node.agent.pool_rules import PoolRules
from insula.node.agent.template_rules import Making, TemplateRules
from insula.node.hypervisor.fake.driver import FakeDriver
from insula.node.hypervisor.host_checks import host_checks
from insula.node.hypervisor.qemu.driver import QemuDriver
from insula.node.network.detect import lacks
from insula.node.network.host_side import HostSide
from insula.node.network.none import NoNetwork
from insula.node.network.spaces import Spaces
from insula.node.network.steward_link import StewardLink
from insula.node.runtime.uids import UidRange
from insula.node.storage.catalogue import open_library
from insula.node.storage.disks import Disks
from insula.node.storage.memory import MemoryDisks, MemoryImages
from insula.protocol.node import Check


async def assemble(settings: Settings) -> Node:
    """The node of this host. Enter it with `async with`; before, no file is touched and nothing is started."""
    folder = settings.home / "node"
    name = platform.node() or "node"
    rules = TemplateRules(
        Making(settings.templates), memory_mib=settings.template_memory_mib, disk_gib=settings.template_disk_gib
    )
    pool = PoolRules(settings.pool_memory_mib)
    if settings.driver == "fake":
        images = MemoryImages(folder / "images")
        fake = FakeDriver(boot_s=settings.fake_boot_s)
        parts = NodeParts(name, folder, fake, images, MemoryDisks(), NoNetwork(), templates=rules, pool=pool)
        return Node(parts)
    uids = UidRange() if UidRange.is_usable() else None
    driver = QemuDriver(settings.home, settings.accelerator)
    networks = folder / "networks"
    is_routed = uids is not None and settings.network == "auto"
    host = HostSide(lambda: StewardLink.stay(networks)) if is_routed else None
    return Node(
        NodeParts(
            name,
            folder,
            driver=driver,
            images=open_library(folder / "images"),
            disks=Disks(),
            network=Spaces(networks, uids, host, lacks=await asyncio.to_thread(lacks)),
            uids=uids,
            cgroups=driver.cgroups,
            driver_checks=lambda: _driver_checks(driver),
            templates=rules,
            pool=pool,
        )
    )


async def _driver_checks(driver: QemuDriver) -> Sequence[Check]:
    return await host_checks(driver.cgroups, await driver.kvm_verdict())

"""What an instance's disk is at one instant, kept as a layer under which nobody writes any more (see layers).

Snapshots and backups are made of that. The instance goes on, whether it runs, stands still or is off.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from insula.base.errors import Unsupported
from insula.domain.snapshot import Consistency
from insula.node.agent import disk_files
from insula.node.agent.background import Background
from insula.node.agent.freezing import frozen
from insula.node.agent.layers import Layers
from insula.node.agent.layers import Owner as LayerOwner
from insula.node.agent.records import Records
from insula.node.hypervisor.driver import CanFork, LayerFiles, Machine
from insula.node.storage.backend import BootableImage
from insula.protocol.node import Power


class Owner(LayerOwner, Protocol):
    """The instance; its lock is held."""

    @property
    def machine(self) -> Machine | None: ...
    def require_machine(self) -> Machine: ...  # Conflict when there is none
    def require_off(self, wish: str) -> None: ...  # Conflict when there is one


@dataclass(frozen=True)
class DiskCopy:
    """`image` is what a disk that goes on from it is based on."""

    image: BootableImage
    consistency: Consistency
    paused_ms: int = 0
    frozen_ms: int = 0


@dataclass(frozen=True)
class CopyTools:
    """What it needs of the node."""

    layers: Layers
    records: Records
    background: Background


async def copy_disk(tools: CopyTools, owner: Owner, nvram: Path) -> DiskCopy:
    """Keep what the disk is now. `nvram` is the file to make of the firmware's variables, if there are some.

    Raises what the layers and the driver raise: the disk is as before then.
    """
    layers, machine = tools.layers, owner.machine
    if machine is None:
        await layers.merge(owner, None)
        async with layers.added(owner, None) as layer:
            own = tools.records.folder_of(owner.record.spec.id) / disk_files.NVRAM
            if own.exists():
                await asyncio.to_thread(disk_files.copy, own, nvram)
        return DiskCopy(layer.image, Consistency.CRASH if owner.record.crashed else Consistency.STOPPED)
    turning = _layerable(owner)
    await layers.merge(owner, turning)
    agent = owner.agent if owner.has_agent and owner.power is Power.ON else None
    async with layers.added(owner, turning) as layer, frozen(agent, tools.background) as freeze:
        paused_ms = await turning.add_layer(LayerFiles(layer.name, layer.disk, nvram))
    consistency = Consistency.FILESYSTEM if freeze.held else Consistency.CRASH
    return DiskCopy(layer.image, consistency, paused_ms, freeze.took_ms)


def _layerable(owner: Owner) -> CanFork:
    machine: object = owner.require_machine()
    if not isinstance(machine, CanFork):
        name = owner.record.spec.name
        raise Unsupported(
            f"No snapshot of {name} can be made while it runs",
            why="This driver's machines cannot turn to another disk",
            todo=f"Stop it first: `insula stop {name}`",
            code="no-snapshot",
        )
    return machine

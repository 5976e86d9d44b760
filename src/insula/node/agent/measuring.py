"""Reads what every machine of the node uses, and the host: one pass for all, made to cost little.

A processor's time and memory come from one small file for each machine. Disks are asked of the machines themselves,
which costs more: a machine that rests is asked once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.base.clock import monotonic_s
from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.domain.history import Metric, Reading
from insula.node.agent import host_use
from insula.node.agent.keeper import InstanceKeeper
from insula.node.hypervisor.driver import CanMeasure, ProcessUse
from insula.node.network.wiring import InstanceNetwork
from insula.protocol.measures import Measures
from insula.protocol.network import PortTraffic
from insula.protocol.node import Nic

# Disks are asked at least as often as this, and whenever the guest has used more than this share of a processor.
_DISKS_EVERY_S = 60.0
_RESTING_SHARE = 0.02
# A machine that hangs keeps the others waiting for as long.
_DISKS_TIMEOUT_S = 2.0
_AT_ONCE = 8

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Running:
    """An instance whose machine is there. Its counters begin with it: a process's number alone would be some other's
    one day."""

    id: str
    nics: Sequence[Nic]
    epoch: str
    machine: CanMeasure


@dataclass(frozen=True)
class _Asked:
    """When a machine's disks were asked last, and what its processors had worked by then."""

    at_s: float
    cpu_s: float


class Meter:
    """Measures the instances that `keepers` tells of; `folder` is where their disks are."""

    def __init__(self, keepers: Callable[[], Iterable[InstanceKeeper]], network: InstanceNetwork, folder: Path) -> None:
        self._keepers = keepers
        self._network = network
        self._folder = folder
        self._asked: dict[str, _Asked] = {}  # by epochs

    async def measure(self) -> Measures:
        """What is shown now. What does not answer is left out."""
        running = [one for keeper in self._keepers() if (one := _running(keeper)) is not None]

        def look() -> tuple[Reading, list[tuple[_Running, float, ProcessUse]]]:
            found = [(one, monotonic_s(), one.machine.process_use()) for one in running]
            return host_use.read(self._folder), [(one, at_s, use) for one, at_s, use in found if use is not None]

        host, uses = await asyncio.to_thread(look)
        due = [one for one, at_s, use in uses if self._is_due(one.epoch, at_s, use.cpu_s)]
        alive = {one.epoch for one, _, _ in uses}
        self._asked = {epoch: asked for epoch, asked in self._asked.items() if epoch in alive}
        cards = await self._network.card_traffic() if uses else {}
        disks = await _disks_of(due)
        return Measures(
            host,
            {
                one.id: Reading(
                    one.epoch,
                    at_s,
                    {Metric.CPU: use.cpu_s, **disks.get(one.id, {}), **_of_cards(one.nics, cards)},
                    {Metric.MEMORY: float(use.memory_bytes)},
                )
                for one, at_s, use in uses
            },
        )

    def _is_due(self, epoch: str, at_s: float, cpu_s: float) -> bool:
        """Whether its disks are worth a question; noted as asked if so."""
        last = self._asked.get(epoch)
        if last is not None:
            passed_s = at_s - last.at_s
            if passed_s < _DISKS_EVERY_S and cpu_s - last.cpu_s < _RESTING_SHARE * passed_s:
                return False
        self._asked[epoch] = _Asked(at_s, cpu_s)
        return True


def _running(keeper: InstanceKeeper) -> _Running | None:
    machine, spec = keeper.machine, keeper.record.spec
    if machine is None or not isinstance(machine, CanMeasure):
        return None
    return _Running(spec.id, spec.nics, f"{machine.pid}:{machine.started_at_s:.1f}", machine)


async def _disks_of(running: Sequence[_Running]) -> Mapping[str, Mapping[Metric, float]]:
    """What the disks of these have counted, by their ids."""
    found: dict[str, Mapping[Metric, float]] = {}
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def ask(one: _Running) -> None:
        async with at_once:
            try:
                async with asyncio.timeout(_DISKS_TIMEOUT_S):
                    counts = await one.machine.disk_counts()
            except (InsulaError, TimeoutError) as error:
                _log.debug("disks cannot be measured", instance_id=one.id, error=str(error))
                return
        found[one.id] = {
            Metric.DISK_READ: float(counts.read_bytes),
            Metric.DISK_WRITTEN: float(counts.written_bytes),
            Metric.DISK_READS: float(counts.reads),
            Metric.DISK_WRITES: float(counts.writes),
        }

    async with asyncio.TaskGroup() as group:
        for one in running:
            group.create_task(ask(one))
    return found


def _of_cards(nics: Sequence[Nic], cards: Mapping[str, PortTraffic]) -> dict[Metric, float]:
    """All of an instance's cards together; nothing when one of them is not told of."""
    if not nics or any(nic.port_id not in cards for nic in nics):
        return {}
    own = [cards[nic.port_id] for nic in nics]
    return {
        Metric.NETWORK_RECEIVED: float(sum(one.received.byte_count for one in own)),
        Metric.NETWORK_SENT: float(sum(one.sent.byte_count for one in own)),
        Metric.NETWORK_RECEIVED_PACKETS: float(sum(one.received.packets for one in own)),
        Metric.NETWORK_SENT_PACKETS: float(sum(one.sent.packets for one in own)),
    }

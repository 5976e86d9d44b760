"""What every driver tells of what its machines use."""

from __future__ import annotations

import asyncio

from insula.node.hypervisor.driver import CanMeasure, DiskCounts
from tests.conformance.rigs import Rig, running

_MIB = 1 << 20


async def test_work_and_disks_are_counted_also_after_an_adoption(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanMeasure)
        before, disks = machine.process_use(), await machine.disk_counts()
        assert before is not None
        assert before.cpu_s >= 0
        assert _MIB < before.memory_bytes < spec.resources.memory_mib * _MIB * 8
        await rig.work(spec)
        after, more = machine.process_use(), await machine.disk_counts()
        assert after is not None
        assert after.cpu_s > before.cpu_s
        assert more.read_bytes > disks.read_bytes
        assert _at_least(more, disks)
        await machine.detach()
        adopted = await rig.driver().adopt(spec.id, spec.folder)
        assert adopted is not None
        assert isinstance(adopted, CanMeasure)
        found = adopted.process_use()
        assert found
        assert found.cpu_s >= after.cpu_s
        assert _at_least(await adopted.disk_counts(), more)
        await adopted.kill()
        assert adopted.process_use() is None


def _at_least(after: DiskCounts, before: DiskCounts) -> bool:
    pairs = (
        (after.read_bytes, before.read_bytes),
        (after.written_bytes, before.written_bytes),
        (after.reads, before.reads),
        (after.writes, before.writes),
    )
    return all(now >= then for now, then in pairs)


async def test_a_machine_is_measured_by_many_at_once(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanMeasure)
        found = await asyncio.gather(*(machine.disk_counts() for _ in range(8)))
        assert len(found) == 8

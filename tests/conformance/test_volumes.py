"""What a driver promises whose machines can be given volumes; the fake's as QEMU's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from insula.base.errors import Conflict
from insula.domain.ids import Kind, new_id
from insula.node.hypervisor.driver import (
    CanAttachVolumes,
    CanGrowDisk,
    CanSave,
    Machine,
    MachineSpec,
    MachineStatus,
    MachineVolume,
)
from tests.conformance.rigs import Rig, running

_SEEN_S = 10.0


def new_volume(rig: Rig, name: str = "data", slot: int = 0) -> MachineVolume:
    return MachineVolume(new_id(Kind.VOLUME), name, rig.volume(name), slot)


async def until(rig: Rig, spec: MachineSpec, sizes: dict[str, int]) -> None:
    """Until the guest has seen it: it is told, and takes its time."""
    async with asyncio.timeout(_SEEN_S):
        while await rig.volume_sizes(spec) != sizes:
            await asyncio.sleep(0.1)


async def test_volumes_come_and_go(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanAttachVolumes)
        one, two = new_volume(rig), new_volume(rig, "more", 1)
        for volume in (one, two, one):
            await machine.attach_volume(volume)
        await until(rig, spec, {one.id: 1, two.id: 1})
        for _ in range(2):
            await machine.detach_volume(one.id)
        await until(rig, spec, {two.id: 1})
        await machine.attach_volume(replace(one, slot=0))
        await until(rig, spec, {one.id: 1, two.id: 1})
        assert await machine.status() is MachineStatus.RUNNING


async def test_a_volume_grows_and_is_limited_while_it_is_there(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanAttachVolumes)
        volume = new_volume(rig)
        await machine.attach_volume(volume)
        for _ in range(2):
            await machine.grow_volume(volume.id, 3)
            await machine.limit_volume(replace(volume, disk_iops=100, disk_mbps=10))
        await until(rig, spec, {volume.id: 3})
        with pytest.raises(Conflict, match="smaller"):
            await machine.grow_volume(volume.id, 2)
        await until(rig, spec, {volume.id: 3})


async def test_a_machine_starts_with_its_volumes(rig: Rig) -> None:
    spec = rig.spec()
    one, two = new_volume(rig, slot=5), new_volume(rig, "more", 2)
    machine = await rig.driver().start(replace(spec, volumes=(one, two)))
    try:
        await rig.booted(spec)
        await until(rig, spec, {one.id: 1, two.id: 1})
        assert isinstance(machine, CanAttachVolumes)
        await machine.attach_volume(one)  # it has it
        await machine.detach_volume(two.id)
        await until(rig, spec, {one.id: 1})
    finally:
        await machine.kill()


async def test_a_saved_machine_wakes_with_its_volumes(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanAttachVolumes)
        assert isinstance(machine, CanSave)
        gone, kept = new_volume(rig), new_volume(rig, "more", 1)
        await machine.attach_volume(gone)
        await machine.attach_volume(kept)
        await machine.detach_volume(gone.id)
        await until(rig, spec, {kept.id: 1})
        await machine.pause()
        await machine.save(spec.folder / "memory")
        await machine.kill()
        again: Machine = await rig.driver().start(replace(spec, saved=spec.folder / "memory", volumes=(kept,)))
        try:
            assert isinstance(again, CanSave)
            await again.resume()
            await until(rig, spec, {kept.id: 1})
            assert isinstance(again, CanAttachVolumes)
            await again.attach_volume(gone)
            await until(rig, spec, {kept.id: 1, gone.id: 1})
        finally:
            await again.kill()


async def test_what_is_cut_off_is_repeated(rig: Rig) -> None:
    """At any point, by the same service or the next one."""
    async with running(rig) as (spec, first):
        await rig.booted(spec)
        await first.detach()
        volume = new_volume(rig)
        for delay_s in (0.0, 0.002, 0.005, 0.01, 0.02):
            async with adopted(rig, spec) as machine:
                await _cut_off(machine.attach_volume(volume), delay_s)
            async with adopted(rig, spec) as machine:
                await machine.attach_volume(volume)
                await until(rig, spec, {volume.id: 1})
                await _cut_off(machine.detach_volume(volume.id), delay_s)
            async with adopted(rig, spec) as machine:
                await machine.detach_volume(volume.id)
                await until(rig, spec, {})


@asynccontextmanager
async def adopted(rig: Rig, spec: MachineSpec) -> AsyncIterator[CanAttachVolumes]:
    """The running machine, in the hands of a new service."""
    found = await rig.driver().adopt(spec.id, spec.folder)
    assert found is not None
    assert isinstance(found, CanAttachVolumes)
    yield found
    await found.detach()


async def _cut_off(work: Coroutine[None, None, None], delay_s: float) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(delay_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_file_that_is_gone_is_told_and_leaves_nothing(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanAttachVolumes)
        volume = new_volume(rig)
        away = volume.file.rename(volume.file.with_suffix(".away"))
        with pytest.raises(Exception, match=r"gone|No such file"):
            await machine.attach_volume(volume)
        await machine.detach_volume(volume.id)
        away.rename(volume.file)
        await machine.attach_volume(volume)
        await until(rig, spec, {volume.id: 1})


async def test_its_own_disk_grows(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanGrowDisk)
        for _ in range(2):
            await machine.grow_disk(2)
        with pytest.raises(Conflict, match="smaller"):
            await machine.grow_disk(1)
        assert await machine.status() is MachineStatus.RUNNING

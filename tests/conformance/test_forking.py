"""What a driver promises that can fork machines; the fake's as QEMU's."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import HostFailure, InsulaError
from insula.node.hypervisor.driver import (
    CanFork,
    CanPause,
    CanSave,
    EndReason,
    ForkFiles,
    GuestMemory,
    LayerFiles,
    Machine,
    MachineSpec,
    MachineStatus,
)
from insula.node.runtime import shared_memory
from tests.conformance.rigs import Rig, running


@asynccontextmanager
async def place_for_a_fork(rig: Rig, spec: MachineSpec, name: str) -> AsyncIterator[tuple[ForkFiles, Path]]:
    """Files for a fork, and the present disk's second name; the layer has the disk's first one."""
    base = spec.folder.parent / f"base-{name}"
    os.link(spec.disk, base)
    layer = spec.disk.with_name(f"layer-{name}")
    rig.layer(base, layer)
    layer.replace(spec.disk)
    memory = shared_memory.make(name, spec.resources.memory_mib << 20)
    try:
        yield ForkFiles(name, spec.disk, spec.folder / f"devices-{name}", memory), base
    finally:
        os.close(memory)


@asynccontextmanager
async def child_of(rig: Rig, files: ForkFiles, base: Path, name: str) -> AsyncIterator[tuple[MachineSpec, Machine]]:
    """A machine that goes on from a fork, standing still."""
    spec = rig.spec(name)
    spec.disk.unlink()
    rig.layer(base, spec.disk)
    base.chmod(0o644)
    behind = [base, *(path for path in base.parent.glob("base-*") if path != base)]
    spec = replace(spec, saved=files.devices, memory=GuestMemory(files.memory, True), read_only=tuple(behind))
    machine = await rig.driver().start(spec)
    try:
        yield spec, machine
    finally:
        await machine.kill()


async def test_a_fork_goes_on_and_so_does_the_other(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        async with place_for_a_fork(rig, spec, "one") as (files, base):
            assert 0 <= await machine.fork(files) < 10_000
            assert await machine.status() is MachineStatus.RUNNING
            assert await machine.settle_fork("one", True)
            assert not await machine.settle_fork("other", True)
            shared_memory.seal(files.memory)
            for name in ("web2", "web3"):
                async with child_of(rig, files, base, name) as (child, forked):
                    assert isinstance(forked, CanPause)
                    assert await forked.status() is MachineStatus.PAUSED
                    await forked.resume()
                    assert "insula-phase: init" not in (child.folder / "console.log").read_text(), "it booted anew"
                    await rig.shut_down_from_inside(child)
                    assert await asyncio.wait_for(forked.wait(), 20) is EndReason.GUEST_SHUTDOWN
        await rig.shut_down_from_inside(spec)
        assert await asyncio.wait_for(machine.wait(), 20) is EndReason.GUEST_SHUTDOWN


async def test_its_disk_alone_is_split(rig: Rig) -> None:
    """The machine runs on, its events tell of nothing, and what it was is there for others."""
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        events = machine.events()
        for name in ("one", "two"):
            async with place_for_a_fork(rig, spec, name) as (files, _):
                layer = LayerFiles(name, files.layer, spec.folder / "nvram-copy")
                assert 0 <= await machine.add_layer(layer) < 5000
                assert await machine.settle_fork(name, True)
                assert await machine.settle_fork(name, True)
                assert await machine.status() is MachineStatus.RUNNING
        assert not await machine.settle_fork("three", True)
        await machine.pause()
        assert (await asyncio.wait_for(anext(events), 2)).kind == "paused"
        async with place_for_a_fork(rig, spec, "three") as (files, _):
            await machine.add_layer(LayerFiles("three", files.layer, spec.folder / "nvram-copy"))
            assert await machine.settle_fork("three", False)
            assert await machine.status() is MachineStatus.PAUSED
        await machine.resume()
        await rig.shut_down_from_inside(spec)
        assert await asyncio.wait_for(machine.wait(), 20) is EndReason.GUEST_SHUTDOWN


async def test_a_layer_that_cannot_be_added_changes_nothing(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        with pytest.raises((InsulaError, OSError)):
            await machine.add_layer(LayerFiles("one", spec.folder / "missing", spec.folder / "nvram-copy"))
        assert not await machine.settle_fork("one", True)
        assert await machine.status() is MachineStatus.RUNNING
        async with place_for_a_fork(rig, spec, "two") as (files, _):
            await machine.add_layer(LayerFiles("two", files.layer, spec.folder / "nvram-copy"))
            assert await machine.settle_fork("two", True)


async def test_no_event_tells_that_it_stood_still(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        events = machine.events()
        async with place_for_a_fork(rig, spec, "one") as (files, _):
            await machine.fork(files)
        await machine.pause()
        assert (await asyncio.wait_for(anext(events), 2)).kind == "paused"
        await machine.resume()


async def test_a_machine_that_stands_still_is_forked_and_stands_on(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        await machine.pause()
        for name in ("one", "two"):
            async with place_for_a_fork(rig, spec, name) as (files, base):
                assert await machine.fork(files) == 0
                assert await machine.status() is MachineStatus.PAUSED
                assert await machine.settle_fork(name, False)
                shared_memory.seal(files.memory)
                async with child_of(rig, files, base, f"of-{name}") as (child, forked):
                    assert isinstance(forked, CanPause)
                    await forked.resume()
                    await rig.shut_down_from_inside(child)
                    assert await asyncio.wait_for(forked.wait(), 20) is EndReason.GUEST_SHUTDOWN
        assert isinstance(machine, CanSave)
        await machine.save(spec.folder / "memory")
        await machine.resume()
        assert await machine.status() is MachineStatus.RUNNING


async def test_a_fork_that_fails_changes_nothing(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        async with place_for_a_fork(rig, spec, "one") as (files, base):
            files.devices.mkdir()
            with pytest.raises((InsulaError, OSError)):
                await machine.fork(files)
            assert await machine.status() is MachineStatus.RUNNING
            assert not await machine.settle_fork("one", True)
            shutil.rmtree(files.devices)
            base.replace(spec.disk)
        async with place_for_a_fork(rig, spec, "two") as (files, _):
            await machine.fork(files)
            assert await machine.settle_fork("two", True)


async def test_a_fork_that_is_cut_off_is_settled_by_the_next_service(rig: Rig) -> None:
    async with running(rig) as (spec, first):
        await rig.booted(spec)
        await first.detach()
        for number, delay_s in enumerate((0.01, 0.1, 0.3)):
            adopted = await rig.driver().adopt(spec.id, spec.folder)
            assert adopted is not None
            machine: object = adopted
            assert isinstance(machine, CanFork)
            async with place_for_a_fork(rig, spec, f"n{number}") as (files, base):
                forking = asyncio.create_task(machine.fork(files))
                await asyncio.sleep(delay_s)
                forking.cancel()
                await asyncio.gather(forking, return_exceptions=True)
                is_on_layer = await machine.settle_fork(files.name, True)
                assert await machine.settle_fork(files.name, True) is is_on_layer
                if not is_on_layer:
                    base.replace(spec.disk)
            await adopted.detach()
        last = await rig.driver().adopt(spec.id, spec.folder)
        assert last is not None
        assert await last.status() is MachineStatus.RUNNING
        await last.detach()


async def test_layers_between_are_merged_while_it_runs(rig: Rig) -> None:
    spec = rig.spec("web1")
    image = spec.folder.parent / "base-image"
    spec.disk.rename(image)
    image.chmod(0o644)
    rig.layer(image, spec.disk)
    machine = await rig.driver().start(replace(spec, read_only=(image,)))
    try:
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        for name in ("one", "two", "three"):
            async with place_for_a_fork(rig, spec, name) as (files, base):
                await machine.fork(files)
        for _ in range(2):
            await machine.merge_layers(image)
        for name in ("one", "two", "three"):
            (spec.folder.parent / f"base-{name}").unlink()
        async with place_for_a_fork(rig, spec, "four") as (files, base):
            await machine.fork(files)
            assert await machine.settle_fork("four", True)
            shared_memory.seal(files.memory)
            async with child_of(rig, files, base, "web2") as (child, forked):
                assert isinstance(forked, CanPause)
                await forked.resume()
                await rig.shut_down_from_inside(child)
                assert await asyncio.wait_for(forked.wait(), 20) is EndReason.GUEST_SHUTDOWN
        await rig.shut_down_from_inside(spec)
        assert await asyncio.wait_for(machine.wait(), 20) is EndReason.GUEST_SHUTDOWN
    finally:
        await machine.kill()


async def test_a_base_that_is_none_is_refused(rig: Rig, tmp_path: Path) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanFork)
        async with place_for_a_fork(rig, spec, "one") as (files, _):
            await machine.fork(files)
        with pytest.raises(HostFailure, match="merged"):
            await machine.merge_layers(tmp_path / "foreign")
        assert await machine.status() is MachineStatus.RUNNING

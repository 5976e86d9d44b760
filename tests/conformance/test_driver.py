"""What every driver promises to the node. The fake passes the same suite as QEMU, or it would prove nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from insula.base.errors import Conflict, HostFailure
from insula.node.hypervisor.driver import (
    CanCutNetwork,
    CanLimitLive,
    CanPause,
    CanSave,
    EndReason,
    GuestMemory,
    Machine,
    MachineSpec,
    MachineStatus,
)
from insula.node.runtime import shared_memory
from tests.conformance.rigs import Rig, running


async def _ended(machine: Machine, timeout_s: float = 1.0) -> EndReason:
    return await asyncio.wait_for(machine.wait(), timeout_s)


async def test_a_started_machine_runs_and_writes_its_console(rig: Rig) -> None:
    before_s = time.time()
    async with running(rig) as (spec, machine):
        assert await machine.status() is MachineStatus.RUNNING
        assert machine.spec_id == spec.id
        assert machine.pid > 0
        assert before_s - 1 <= machine.started_at_s <= time.time()
        await rig.booted(spec)
        assert "insula-phase: init" in (spec.folder / "console.log").read_text()


async def test_a_second_start_is_refused_and_disturbs_nothing(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        with pytest.raises(Conflict, match="runs already"):
            await rig.driver().start(spec)
        assert await machine.status() is MachineStatus.RUNNING
        assert "insula-phase: ready" in (spec.folder / "console.log").read_text()


async def test_a_detached_machine_goes_on_and_another_driver_adopts_it(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        events = machine.events()
        await machine.detach()
        assert [event async for event in events] == []
        assert rig.is_running(spec, machine)
        adopted = await rig.driver().adopt(spec.id, spec.folder)
        assert adopted is not None
        assert (adopted.pid, adopted.started_at_s) == (machine.pid, machine.started_at_s)
        assert await adopted.status() is MachineStatus.RUNNING
        await adopted.kill()
        assert await _ended(adopted) is EndReason.COMMANDED


async def test_nothing_is_adopted_where_nothing_runs(rig: Rig) -> None:
    spec = rig.spec()
    assert await rig.driver().adopt(spec.id, spec.folder) is None
    assert await rig.driver().last_end(spec.folder) is None
    assert await rig.driver().adopt(spec.id, spec.folder / "none") is None


async def test_a_machine_is_not_adopted_under_another_name(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await machine.detach()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("insula.node.hypervisor.qemu.driver._ADOPT_TIMEOUT_S", 1.0)
            assert await rig.driver().adopt("ins_other", spec.folder) is None
        assert rig.is_running(spec, machine)


async def test_the_power_button_ends_an_obeying_guest(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        events = machine.events()
        await machine.press_power_button()
        assert await _ended(machine, 20) is EndReason.GUEST_SHUTDOWN
        assert [(event.kind, event.end_reason) async for event in events][-1] == ("ended", EndReason.GUEST_SHUTDOWN)
        assert await machine.status() is MachineStatus.ENDED
        assert await rig.driver().last_end(spec.folder) is EndReason.GUEST_SHUTDOWN


async def test_a_shutdown_from_inside_is_told_from_a_crash(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        await rig.shut_down_from_inside(spec)
        assert await _ended(machine, 20) is EndReason.GUEST_SHUTDOWN


async def test_a_reset_boots_again_in_the_same_machine(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        events = machine.events()
        await machine.reset()
        assert (await asyncio.wait_for(anext(events), 5)).kind == "reset"
        await rig.booted(spec, times=2)
        assert await machine.status() is MachineStatus.RUNNING


async def test_a_killed_machine_is_gone_and_was_commanded(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await machine.kill()
        assert await _ended(machine) is EndReason.COMMANDED
        await machine.kill()
        assert not rig.is_running(spec, machine)
        assert await machine.status() is MachineStatus.ENDED
        assert await rig.driver().adopt(spec.id, spec.folder) is None
        assert await rig.driver().last_end(spec.folder) is EndReason.COMMANDED
        with pytest.raises(Conflict, match="has ended"):
            await machine.reset()


async def test_a_crash_is_noticed_within_a_second(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        events = machine.events()
        rig.crash(spec, machine)
        assert await _ended(machine) is EndReason.CRASHED
        assert [event.kind async for event in events] == ["ended"]
        assert await rig.driver().last_end(spec.folder) is EndReason.CRASHED


async def test_who_waits_hears_of_an_end_that_was_not_noticed_before_a_kill(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        events = machine.events()
        rig.crash(spec, machine)
        time.sleep(0.2)
        await machine.kill()
        await _ended(machine)
        assert [event.kind async for event in events] == ["ended"]


async def test_a_crash_that_nobody_saw_is_known_later(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await machine.detach()
        rig.crash(spec, machine)
        await asyncio.sleep(0.5)
        assert await rig.driver().adopt(spec.id, spec.folder) is None
        assert await rig.driver().last_end(spec.folder) is EndReason.CRASHED


async def test_an_ended_machine_starts_again_with_a_fresh_console(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        await machine.kill()
        again = await rig.driver().start(spec)
        assert again.started_at_s > machine.started_at_s
        await rig.booted(spec)
        assert (spec.folder / "console.log").read_bytes().count(b"insula-phase: ready") == 1
        await again.kill()


async def test_a_failing_start_leaves_nothing(rig: Rig) -> None:
    spec = rig.spec()
    driver = rig.failing_driver()
    with pytest.raises(HostFailure) as caught:
        await driver.start(spec)
    assert caught.value.why
    assert caught.value.todo
    assert not rig.is_running(spec, None)
    assert await rig.driver().adopt(spec.id, spec.folder) is None


async def test_a_cancelled_start_leaves_nothing(rig: Rig) -> None:
    for delay_s in (0.0, 0.005, 0.02, 0.04):
        spec = rig.spec(f"web{int(delay_s * 1000)}")
        starting = asyncio.create_task(rig.driver().start(spec))
        await asyncio.sleep(delay_s)
        if starting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert not rig.is_running(spec, None)
        else:
            await (await starting).kill()


async def test_a_paused_machine_stands_still_until_it_is_resumed(rig: Rig) -> None:
    async with running(rig) as (_, machine):
        assert isinstance(machine, CanPause)
        events = machine.events()
        await machine.pause()
        assert await machine.status() is MachineStatus.PAUSED
        await machine.resume()
        assert await machine.status() is MachineStatus.RUNNING
        kinds = [(await asyncio.wait_for(anext(events), 2)).kind for _ in range(2)]
        assert kinds == ["paused", "resumed"]


async def test_a_saved_machine_goes_on_in_another_process(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanSave)
        saved = spec.folder / "memory"
        await machine.pause()
        await machine.save(saved)
        assert await machine.status() is MachineStatus.PAUSED
        await machine.save(saved)
        await machine.kill()
        again = await rig.driver().start(replace(spec, saved=saved))
        assert isinstance(again, CanSave)
        assert await again.status() is MachineStatus.PAUSED
        await again.resume()
        assert "insula-phase: init" not in (spec.folder / "console.log").read_text(), "it booted anew"
        await rig.shut_down_from_inside(spec)
        assert await _ended(again, 20) is EndReason.GUEST_SHUTDOWN
        assert [path.name for path in spec.folder.glob(".*.tmp")] == []


async def test_a_machine_goes_on_after_it_was_saved(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanSave)
        await machine.pause()
        await machine.save(spec.folder / "memory")
        await machine.resume()
        await rig.shut_down_from_inside(spec)
        assert await _ended(machine, 20) is EndReason.GUEST_SHUTDOWN


async def test_a_machine_with_saved_memory_is_adopted_standing_still(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanSave)
        await machine.pause()
        await machine.save(spec.folder / "memory")
        await machine.kill()
        await (await rig.driver().start(replace(spec, saved=spec.folder / "memory"))).detach()
        adopted = await rig.driver().adopt(spec.id, spec.folder)
        assert adopted is not None
        assert await adopted.status() is MachineStatus.PAUSED
        assert isinstance(adopted, CanPause)
        await adopted.resume()
        await adopted.kill()


async def test_memory_that_cannot_be_read_starts_nothing(rig: Rig) -> None:
    spec = rig.spec()
    (spec.folder / "memory").write_bytes(b"no memory at all" * 100)
    with pytest.raises(HostFailure) as caught:
        await rig.driver().start(replace(spec, saved=spec.folder / "memory"))
    assert caught.value.code == "saved-memory-unusable"
    assert not rig.is_running(spec, None)


async def test_the_fingerprint_is_the_same_for_every_service(rig: Rig) -> None:
    fingerprint = await rig.driver().fingerprint()
    assert fingerprint
    assert await rig.driver().fingerprint() == fingerprint


async def test_many_machines_go_on_from_one_memory(rig: Rig) -> None:
    async with running_template(rig) as (template, memory):
        again: list[Machine] = []
        try:
            for name in ("web2", "web3"):
                spec = replace(rig.spec(name), saved=template.folder / "devices", memory=GuestMemory(memory, True))
                shutil.copyfile(template.disk, spec.disk)
                machine = await rig.driver().start(spec)
                again.append(machine)
                assert isinstance(machine, CanSave)
                assert await machine.status() is MachineStatus.PAUSED
                await machine.resume()
                assert "insula-phase: init" not in (spec.folder / "console.log").read_text(), "it booted anew"
                assert not await rig.has_link(spec)
                assert isinstance(machine, CanCutNetwork)
                await machine.set_link(True)
                assert await rig.has_link(spec)
                await machine.pause()
                await machine.save(spec.folder / "memory")
                await machine.kill()
                machine = await rig.driver().start(replace(spec, saved=spec.folder / "memory", memory=None))
                again.append(machine)
                assert isinstance(machine, CanPause)
                await machine.resume()
                await rig.shut_down_from_inside(spec)
                assert await _ended(machine, 20) is EndReason.GUEST_SHUTDOWN
        finally:
            for machine in again:
                await machine.kill()


@asynccontextmanager
async def running_template(rig: Rig) -> AsyncIterator[tuple[MachineSpec, int]]:
    """A machine that was saved beside its memory, which is sealed now."""
    spec = rig.spec("template")
    memory = shared_memory.make("template", spec.resources.memory_mib << 20)
    try:
        machine = await rig.driver().start(replace(spec, memory=GuestMemory(memory)))
        try:
            await rig.booted(spec)
            assert isinstance(machine, CanSave)
            assert isinstance(machine, CanCutNetwork)
            await machine.set_link(False)
            await machine.pause()
            await machine.save(spec.folder / "devices")
        finally:
            await machine.kill()
        assert (spec.folder / "devices").stat().st_size < 4 << 20, "it holds the memory, too"
        shared_memory.seal(memory)
        yield spec, memory
    finally:
        os.close(memory)


async def test_the_network_is_cut_and_mended(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        await rig.booted(spec)
        assert isinstance(machine, CanCutNetwork)
        assert await rig.has_link(spec)
        for up in (False, False, True):
            await machine.set_link(up)
            assert await rig.has_link(spec) is up


async def test_limits_change_while_it_runs(rig: Rig) -> None:
    async with running(rig) as (spec, machine):
        assert isinstance(machine, CanLimitLive)
        await machine.set_limits(replace(spec.resources, cpu_percent=50, disk_iops=100))
        assert await machine.status() is MachineStatus.RUNNING

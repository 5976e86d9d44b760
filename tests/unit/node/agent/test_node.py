"""The whole life of an instance through a node, on the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from insula.base.errors import Conflict, GuestFailure, InvalidInput, NotFound
from insula.domain.instance import BootPhase, RestartPolicy
from insula.node.agent import Node
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.hypervisor.fake.state import crash
from insula.protocol.node import InstanceReport, InstanceSpec, Power, StopWay

from .conftest import make_node, no_phase

NewSpec = Callable[..., InstanceSpec]


async def launch(node: Node, spec: InstanceSpec) -> None:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)


async def report_of(node: Node, spec: InstanceSpec) -> InstanceReport:
    return next(report for report in await node.observe() if report.id == spec.id)


async def until(node: Node, spec: InstanceSpec, power: Power) -> InstanceReport:
    async with asyncio.timeout(5):
        while (report := await report_of(node, spec)).power is not power:
            await asyncio.sleep(0.01)
    return report


async def test_a_life_from_configure_to_forget(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await node.configure(spec)
    assert (await report_of(node, spec)).power is Power.ABSENT
    await node.make_disk(spec)
    assert (await report_of(node, spec)).power is Power.OFF
    await node.start(spec.id)
    phases: list[BootPhase] = []
    boot = await node.await_ready(spec.id, 10, phases.append)
    assert boot.ready_by == "agent"
    assert [phase.name for phase in phases] == [phase.name for phase in boot.phases]
    assert phases[0].name == "firmware"
    assert phases[-1].name == "ready"
    assert (await report_of(node, spec)).power is Power.ON
    stop = await node.stop(spec.id, 5)
    assert stop.way is StopWay.AGENT
    assert (await report_of(node, spec)).power is Power.OFF
    await node.forget(spec.id)
    assert await node.observe() == []
    assert not (folder / "instances" / spec.id).exists()


async def test_everything_may_be_repeated(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    for _ in range(2):
        await node.configure(spec)
        await node.make_disk(spec)
        await node.start(spec.id)
        await node.await_ready(spec.id, 10, no_phase)
    first = (await report_of(node, spec)).pid
    await node.start(spec.id)
    assert (await report_of(node, spec)).pid == first
    assert (await node.stop(spec.id, 5)).way is StopWay.AGENT
    assert (await node.stop(spec.id, 5)).way is StopWay.ALREADY_OFF
    for _ in range(2):
        await node.remove_disk(spec.id)
        await node.forget(spec.id)


async def test_exec_and_files(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await launch(node, spec)
    done = await node.execute(spec.id, ["cat"], b"\x00\xffdata", 5)
    assert (done.exit_code, done.stdout) == (0, b"\x00\xffdata")
    assert (await node.execute(spec.id, ["false"], b"", 5)).exit_code == 1
    content = bytes(range(256)) * 4096

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    assert await node.write_file(spec.id, "/root/data.bin", pieces(), 0o600) == len(content)
    assert b"".join([chunk async for chunk in await node.read_file(spec.id, "/root/data.bin")]) == content
    await node.set_hostname(spec.id, "web9")
    assert (await node.execute(spec.id, ["hostname"], b"", 5)).stdout == b"web9\n"


async def test_the_guest_is_reached_only_while_it_runs(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    with pytest.raises(Conflict, match="is not running"):
        await node.execute(spec.id, ["true"], b"", 5)
    with pytest.raises(NotFound):
        await node.start(new_spec().id)
    with pytest.raises(InvalidInput):
        await node.configure(new_spec(id="../../etc"))


async def test_a_crash_is_answered_by_a_restart(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await launch(node, spec)
    watch = node.watch()
    before = await report_of(node, spec)
    crash(folder / "instances" / spec.id)
    async with asyncio.timeout(1):
        noticed = await anext(watch)
    assert noticed.power is Power.BOOTING
    assert "crashed" in noticed.problem
    after = await until(node, spec, Power.ON)
    assert after.pid != before.pid
    assert after.restarts == 1
    assert after.problem == ""


async def test_policy_never_leaves_a_crashed_machine_alone(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec(restart_policy=RestartPolicy.NEVER)
    await launch(node, spec)
    crash(folder / "instances" / spec.id)
    report = await until(node, spec, Power.CRASHED)
    assert "policy is never" in report.problem
    await node.start(spec.id)
    assert (await until(node, spec, Power.ON)).problem == ""


async def test_a_machine_that_keeps_dying_is_given_up(node: Node, driver: FakeDriver, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    driver.faults = Faults(crash_after_s=0.05)
    await node.start(spec.id)
    report = await until(node, spec, Power.CRASHED)
    assert "4 times in a row" in report.problem
    assert report.restarts == 3


async def test_poweroff_inside_stays_off(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await launch(node, spec)
    agent = node._keeper(spec.id).agent
    await agent.tell("guest-shutdown", {"mode": "powerdown"}, timeout_s=5)
    assert (await until(node, spec, Power.OFF)).restarts == 0
    async with make_node(folder) as again:
        assert (await report_of(again, spec)).power is Power.OFF


async def test_reboot_gives_new_phases(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await launch(node, spec)
    before = await report_of(node, spec)
    assert (await node.reboot(spec.id, 5)).way is StopWay.AGENT
    boot = await node.await_ready(spec.id, 5, no_phase)
    assert boot.phases[-1].name == "ready"
    after = await report_of(node, spec)
    assert after.pid == before.pid
    assert after.restarts == 0


async def test_a_new_node_adopts_what_runs(folder: Path, driver: FakeDriver, new_spec: NewSpec) -> None:
    spec = new_spec()
    async with make_node(folder, driver) as first:
        await first.prepare_image("tiny", lambda message, percent=-1: None)
        await launch(first, spec)
        before = await report_of(first, spec)
    async with make_node(folder) as second:
        after = await report_of(second, spec)
        assert after == before
        assert after.power is Power.ON
        assert (await second.execute(spec.id, ["echo", "hello"], b"", 5)).stdout == b"hello\n"


async def test_a_boot_that_hangs_names_its_phase(node: Node, driver: FakeDriver, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    driver.faults = Faults(never_ready=True)
    await node.start(spec.id)
    with pytest.raises(GuestFailure, match="stopped in the phase init") as caught:
        await node.await_ready(spec.id, 0.3, no_phase)
    assert "insula-phase: init" in caught.value.why


async def test_a_failed_start_leaves_it_off(node: Node, driver: FakeDriver, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    driver.faults = Faults(fail_start="no memory")
    with pytest.raises(Exception, match="did not start"):
        await node.start(spec.id)
    assert (await report_of(node, spec)).power is Power.OFF


async def test_stopping_a_deaf_guest_ends_it_hard(node: Node, driver: FakeDriver, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    driver.faults = Faults(never_ready=True, ignores_power_button=True)
    await node.start(spec.id)
    waiting = asyncio.create_task(node.await_ready(spec.id, 10, no_phase))
    assert (await node.stop(spec.id, 0.3)).way is StopWay.HARD
    with pytest.raises(GuestFailure, match="did not become ready"):
        await waiting


async def test_a_rebuild_can_go_back(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await launch(node, spec)
    await node.prepare_image("debian-12", lambda message, percent=-1: None)
    with pytest.raises(Conflict, match="is on"):
        await node.set_disk_aside(spec.id)
    await node.stop(spec.id, 0)
    await node.set_disk_aside(spec.id)
    await node.set_disk_aside(spec.id)
    assert (await report_of(node, spec)).power is Power.ABSENT
    await node.make_disk(new_spec(id=spec.id, image="debian-12"))
    with pytest.raises(Conflict, match="in use"):
        await node.delete_image("tiny")
    await node.bring_disk_back(spec.id)
    await node.bring_disk_back(spec.id)
    await node.delete_image("debian-12")
    await node.start(spec.id)
    await node.await_ready(spec.id, 5, no_phase)


async def test_console_is_shared(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await launch(node, spec)
    one, two = await node.console_attach(spec.id), await node.console_attach(spec.id)
    await one.write(b"hello")
    async with asyncio.timeout(2):
        assert await one.read() == b"hello"
        assert await two.read() == b"hello"
    await two.close()
    assert await two.read() == b""
    assert b"login:" in await node.console_log(spec.id, 10_000)
    await node.stop(spec.id, 0)
    assert await one.read() == b""
    with pytest.raises(Conflict, match="cannot be reached"):
        await node.console_attach(spec.id)


async def test_leftovers_are_found_and_removed(node: Node, new_spec: NewSpec, folder: Path) -> None:
    kept, lost = new_spec(), new_spec()
    await launch(node, kept)
    await launch(node, lost)
    found = await node.leftovers(frozenset({kept.id}), remove=False)
    assert [(entry.name, entry.removed) for entry in found] == [(str(folder / "instances" / lost.id), False)]
    await node.leftovers(frozenset({kept.id}), remove=True)
    assert await node.leftovers(frozenset({kept.id}), remove=False) == []
    assert [report.id for report in await node.observe()] == [kept.id]


async def test_describe_tells_the_host(node: Node) -> None:
    report = await node.describe()
    assert report.cores >= 1
    assert report.memory_mib > 100
    assert 0 < report.disk_free_gib <= report.disk_total_gib
    assert {check.name for check in await node.doctor()} >= {"memory", "disk"}

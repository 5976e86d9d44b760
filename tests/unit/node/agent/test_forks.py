"""Forks of a running instance, on the fake driver: children go on as somebody else, and nothing is left of failures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict, GuestFailure, HostFailure, Unsupported
from insula.domain.capacity import Share
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Firmware, RestartPolicy
from insula.node.agent import Node
from insula.node.agent.records import Records
from insula.node.hypervisor.driver import ForkFiles, MachineSpec
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import InstanceSpec, Power, StopWay
from tests.connected import alone

from .conftest import make_node, no_phase, quiet
from .test_node import report_of

NewSpec = Callable[..., InstanceSpec]
POINT = "op_1"


async def booted(node: Node, spec: InstanceSpec) -> None:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)


def child_of(spec: InstanceSpec, number: int = 1) -> InstanceSpec:
    name = f"{spec.name}-{number}"
    mac = f"52:54:00:00:01:{number:02x}"
    return replace(spec, id=new_id(Kind.INSTANCE), name=name, hostname=name, nics=(alone(mac),), user_data="")


async def child(node: Node, spec: InstanceSpec, point: str = POINT, *, keeps: bool = False) -> list[str]:
    """Make and start a child; the phases of its first start."""
    await node.configure(spec)
    await node.make_child(spec, point, keeps)
    await node.start(spec.id)
    return [phase.name for phase in (await node.await_ready(spec.id, 10, no_phase)).phases]


async def said(node: Node, spec: InstanceSpec, *argv: str) -> str:
    return (await node.execute(spec.id, argv, b"", 5)).stdout.decode()


def points(folder: Path) -> list[Path]:
    return sorted((folder / "forks").glob("*"))


async def write(node: Node, spec: InstanceSpec, path: str, text: str) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield text.encode()

    await node.write_file(spec.id, path, data(), 0o644)


async def test_children_go_on_as_themselves_and_the_parent_goes_on(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec(user_data="#!/bin/sh\n")
    await booted(node, spec)
    await write(node, spec, "/root/file", "before")
    before = await report_of(node, spec)
    assert await node.fork(spec.id, POINT, False) >= 0
    assert await node.fork(spec.id, POINT, False) >= 0
    await write(node, spec, "/root/file", "after")
    for number in (1, 2):
        one = child_of(spec, number)
        assert await child(node, one) == ["renew", "ready"]
        assert await said(node, one, "cat", "/root/file") == "before"
        assert await said(node, one, "cat", "/var/lib/insula/renewed") == f"{one.mac}\n"
        found = state.load(folder / "instances" / one.id)
        assert found is not None
        assert found.link_up
    assert await said(node, spec, "cat", "/root/file") == "after"
    assert await report_of(node, spec) == before
    await node.drop_fork(POINT)
    await node.drop_fork(POINT)
    assert len(points(folder)) == 1
    await node.stop(spec.id, 5)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)
    assert await said(node, spec, "cat", "/root/file") == "after"


async def test_a_fork_of_a_fork(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    for number in range(1, 4):
        await node.fork(spec.id, f"op_{number}", False)
        one = child_of(spec, number)
        assert await child(node, one, f"op_{number}") == ["renew", "ready"]
        await node.drop_fork(f"op_{number}")
        spec = one
    assert len(points(folder)) == 3


async def test_a_paused_parent_stays_paused(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.pause(spec.id)
    assert await node.fork(spec.id, POINT, False) == 0
    assert await child(node, child_of(spec)) == ["renew", "ready"]
    assert (await report_of(node, spec)).power is Power.PAUSED
    await node.resume(spec.id)


async def test_a_child_that_keeps_its_identity_never_has_a_network(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.fork(spec.id, POINT, True)
    one = child_of(spec)
    assert await child(node, one, keeps=True) == ["wake", "ready"]
    found = state.load(folder / "instances" / one.id)
    assert found is not None
    assert not found.link_up
    seed = folder / "instances" / one.id / "seed.iso"
    assert seed.read_bytes() == (folder / "instances" / spec.id / "seed.iso").read_bytes()
    with pytest.raises(Unsupported, match="cannot be forked"):
        await node.fork(one.id, "op_2", True)
    await node.stop(one.id, 5)
    await node.start(one.id)
    found = state.load(folder / "instances" / one.id)
    assert found is not None
    assert found.mac == ""


async def test_fork_points_go_with_the_last_that_needs_them(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.fork(spec.id, POINT, False)
    one = child_of(spec)
    await child(node, one)
    await node.drop_fork(POINT)
    (point,) = points(folder)
    assert sorted(path.name for path in point.iterdir()) == ["disk.qcow2", "fork.json"]
    await node.forget(spec.id)
    assert points(folder) == [point]
    await node.forget(one.id)
    assert points(folder) == []


async def test_many_that_go_at_once_take_their_fork_points_along(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    children = [child_of(spec, number) for number in range(1, 6)]
    for one in children:
        await node.fork(spec.id, one.id, False)
        await child(node, one, one.id)
        await node.drop_fork(one.id)
    assert len(points(folder)) == 5
    await asyncio.gather(*(node.forget(one.id) for one in (*children, spec)))
    assert points(folder) == []


async def test_the_memory_of_a_fork_point_counts_until_it_is_dropped(
    node: Node, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = new_spec()
    await booted(node, spec)
    fork = FakeMachine.fork

    async def filling(machine: FakeMachine, files: ForkFiles) -> int:
        assert (await node.describe()).forks == Share(spec.resources.memory_mib), "all of it may be needed"
        os.pwrite(files.memory, bytes(3 << 20), 0)
        return await fork(machine, files)

    monkeypatch.setattr(FakeMachine, "fork", filling)
    await node.fork(spec.id, POINT, False)
    assert (await node.describe()).forks == Share(3)
    await node.drop_fork(POINT)
    assert (await node.describe()).forks == Share()


async def test_a_dropped_point_makes_no_children(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.fork(spec.id, POINT, False)
    one, two = child_of(spec), child_of(spec, 2)
    await node.configure(one)
    await node.make_child(one, POINT, False)
    await node.configure(two)
    await node.drop_fork(POINT)
    with pytest.raises(Conflict) as caught:
        await node.start(one.id)
    assert caught.value.code == "fork-gone"
    with pytest.raises(Conflict):
        await node.make_child(two, POINT, False)


async def test_a_child_that_does_not_become_itself_never_boots(folder: Path, new_spec: NewSpec) -> None:
    def faults(spec: MachineSpec) -> Faults:
        return Faults(broken_program="renew") if spec.saved is not None else Faults()

    async with make_node(folder, FakeDriver(faults=faults)) as node:
        await node.prepare_image("tiny", quiet)
        spec = new_spec()
        await booted(node, spec)
        await node.fork(spec.id, POINT, False)
        one = child_of(spec)
        with pytest.raises(GuestFailure):
            await child(node, one)
        assert (await report_of(node, one)).power is Power.OFF
        with pytest.raises(Conflict):
            await node.start(one.id)


async def hanging_child(node: Node, spec: InstanceSpec, monkeypatch: pytest.MonkeyPatch) -> InstanceSpec:
    """A child that was started, and whose guest never becomes itself."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    await booted(node, spec)
    await node.fork(spec.id, POINT, False)
    monkeypatch.setattr("insula.node.agent.forks.become", never)
    one = child_of(spec)
    await node.configure(one)
    await node.make_child(one, POINT, False)
    await node.start(one.id)
    return one


async def test_a_child_that_hangs_can_be_stopped_and_deleted_at_once(
    node: Node, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await hanging_child(node, new_spec(), monkeypatch)
    assert (await report_of(node, one)).power is Power.BOOTING
    with pytest.raises(Conflict) as refused:
        await said(node, one, "true")
    assert refused.value.code == "instance-renewing"
    async with asyncio.timeout(2):
        assert (await node.stop(one.id, 60)).way is StopWay.HARD
        with pytest.raises(Conflict) as gone:
            await node.start(one.id)
        assert gone.value.code == "fork-gone"
        await node.forget(one.id)


async def test_a_child_whose_machine_breaks_off_stays_off(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await hanging_child(node, new_spec(restart_policy=RestartPolicy.ALWAYS), monkeypatch)
    state.crash(folder / "instances" / one.id)
    with pytest.raises(GuestFailure) as caught:
        await node.await_ready(one.id, 5, no_phase)
    assert caught.value.code == "renew-failed"
    report = await report_of(node, one)
    assert (report.power, report.restarts) == (Power.OFF, 0)
    assert "fork again" in report.problem


async def test_a_killed_service_does_not_start_a_child_that_was_not_itself(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_node(folder) as first:
        await first.prepare_image("tiny", quiet)
        one = await hanging_child(first, new_spec(), monkeypatch)
        files = [folder / "instances" / one.id / name for name in ("spec.json", "fake.json")]
        as_killed = [file.read_bytes() for file in files]
    for file, content in zip(files, as_killed, strict=True):
        file.write_bytes(content)
    async with make_node(folder) as second:
        assert (await report_of(second, one)).power is Power.OFF
        with pytest.raises(Conflict):
            await second.start(one.id)


async def test_what_cannot_be_forked_says_why(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    with pytest.raises(Conflict) as off:
        await node.fork(spec.id, POINT, False)
    assert off.value.code == "instance-off"
    uefi = new_spec(firmware=Firmware.UEFI, resources=replace(spec.resources, memory_mib=256))
    await booted(node, uefi)
    with pytest.raises(Unsupported) as firmware:
        await node.fork(uefi.id, POINT, False)
    assert "bios" in firmware.value.why


async def test_what_many_forks_leave_is_merged_and_removed(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[Path] = []

    async def merge_layers(self: FakeMachine, base: Path) -> None:
        merged.append(base)

    monkeypatch.setattr(FakeMachine, "merge_layers", merge_layers)
    spec = new_spec()
    await booted(node, spec)
    image = (await node._parts.images.bootable("tiny")).disk
    for number in range(20):
        await node.fork(spec.id, f"op_{number}", False)
        await node.drop_fork(f"op_{number}")
        assert len(list((folder / "forks").iterdir())) <= 8
    assert merged == [image, image]
    assert (await report_of(node, spec)).power is Power.ON


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_fork_that_fails_leaves_the_parent_as_it_was(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    spec = new_spec()
    await booted(node, spec)
    disk = folder / "instances" / spec.id / "disk.qcow2"
    before = disk.stat().st_ino
    fork = FakeMachine.fork

    async def failing(machine: FakeMachine, files: ForkFiles) -> int:
        if is_late:
            await fork(machine, files)
        raise HostFailure("no")

    monkeypatch.setattr(FakeMachine, "fork", failing)
    with pytest.raises(HostFailure):
        await node.fork(spec.id, POINT, False)
    assert (disk.stat().st_ino == before) is not is_late  # what the guest wrote since is in the layer
    assert len(points(folder)) == int(is_late)
    monkeypatch.undo()
    await node.fork(spec.id, POINT, False)
    assert await child(node, child_of(spec)) == ["renew", "ready"]


@pytest.mark.parametrize("place", ["nothing", "layer", "fork", "after fork", "start"])
async def test_a_service_that_ends_anywhere_leaves_the_parent_and_nothing_else(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    spec = new_spec()
    one = child_of(spec)
    reached = asyncio.Event()
    fork = FakeMachine.fork

    async def hang(*_: object) -> int:
        reached.set()
        await asyncio.Event().wait()
        return 0

    async def late(machine: FakeMachine, files: ForkFiles) -> int:
        await fork(machine, files)
        return await hang()

    async def nothing(*_: object) -> None:
        """What a killed service does."""

    hanging = {
        "nothing": ("insula.node.agent.forks.Forks.drop", hang),
        "layer": ("insula.node.storage.memory.MemoryDisks.layer", hang),
        "fork": ("insula.node.hypervisor.fake.machine.FakeMachine.fork", hang),
        "after fork": ("insula.node.hypervisor.fake.machine.FakeMachine.fork", late),
        "start": ("insula.node.agent.forks.become", hang),
    }

    async def work(node: Node) -> None:
        await node.fork(spec.id, POINT, False)
        await node.configure(one)
        await node.make_child(one, POINT, False)
        await node.start(one.id)
        await node.drop_fork(POINT)

    async with make_node(folder) as first:
        await first.prepare_image("tiny", quiet)
        await booted(first, spec)
        await write(first, spec, "/root/file", "kept")
        monkeypatch.setattr(*hanging[place])
        working = asyncio.create_task(work(first))
        await asyncio.wait_for(reached.wait(), 5)
        monkeypatch.setattr("insula.node.agent.layers.Layers._undo", nothing)  # nobody clears up after kill -9
    await check_the_next_service(folder, spec)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def check_the_next_service(folder: Path, spec: InstanceSpec) -> None:
    async with make_node(folder) as second:
        assert (await report_of(second, spec)).power is Power.ON
        assert Records(folder).load(spec.id).forking is None
        assert await said(second, spec, "cat", "/root/file") == "kept"
        await second.leftovers(frozenset({spec.id}), True)
        for point in points(folder):
            assert sorted(path.name for path in point.iterdir()) == ["disk.qcow2", "fork.json"]
        await second.stop(spec.id, 0)
        await second.start(spec.id)
        await second.await_ready(spec.id, 10, no_phase)
        assert await said(second, spec, "cat", "/root/file") == "kept"
        await second.forget(spec.id)
        assert points(folder) == []

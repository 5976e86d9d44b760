"""Snapshots on a node, over the fake driver: what is in them, what goes on from them, what is left of killed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict, DataCorrupt, GuestFailure, NotFound, Unsupported
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Firmware
from insula.domain.snapshot import Consistency
from insula.node.agent import Node
from insula.node.agent.records import Records
from insula.node.hypervisor.fake.guest import FakeGuest
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import InstanceSpec, Power

from .conftest import no_phase
from .test_forks import booted, child_of, points, said, write
from .test_node import report_of

NewSpec = Callable[..., InstanceSpec]


def new_snapshot() -> str:
    return new_id(Kind.SNAPSHOT)


async def revert(node: Node, spec: InstanceSpec, snapshot: str, *, with_memory: bool = False) -> list[str]:
    """Take an instance back, as the operation does; the phases of the start that follows."""
    await node.stop(spec.id, 0)
    await node.set_disk_aside(spec.id)
    await node.make_disk_from_snapshot(spec, snapshot, with_memory)
    await node.make_disk_from_snapshot(spec, snapshot, with_memory)
    phases = await started(node, spec)
    await node.drop_disk_aside(spec.id)
    return phases


async def started(node: Node, spec: InstanceSpec) -> list[str]:
    await node.start(spec.id)
    return [phase.name for phase in (await node.await_ready(spec.id, 10, no_phase)).phases]


async def launched(node: Node, spec: InstanceSpec, snapshot: str, *, with_memory: bool = False) -> list[str]:
    """Another instance that goes on from a snapshot."""
    await node.configure(spec)
    await node.make_disk_from_snapshot(spec, snapshot, with_memory)
    return await started(node, spec)


async def test_it_goes_back_and_forth(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    ids = [new_snapshot() for _ in range(3)]
    for number, snapshot in enumerate(ids):
        await write(node, spec, "/root/file", f"at {number}")
        report = await node.take_snapshot(spec.id, snapshot, False)
        assert report.consistency is Consistency.FILESYSTEM
        assert await node.take_snapshot(spec.id, snapshot, False) == report
    await write(node, spec, "/root/file", "after all")
    for number in (1, 0, 2, 1):
        assert "ready" in await revert(node, spec, ids[number])
        assert await said(node, spec, "cat", "/root/file") == f"at {number}"
        await write(node, spec, "/root/file", "changed")
    for snapshot in (ids[1], ids[2], ids[0]):
        await node.remove_snapshot(snapshot)
        await node.remove_snapshot(snapshot)
        assert await said(node, spec, "cat", "/root/file") == "changed"
    await node.stop(spec.id, 0)
    await started(node, spec)
    assert await said(node, spec, "cat", "/root/file") == "changed"
    await node.forget(spec.id)
    assert points(folder) == []
    assert list((folder / "snapshots").iterdir()) == []


async def test_what_it_was_when_it_was_off(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await write(node, spec, "/root/file", "off")
    await node.stop(spec.id, 5)
    snapshot = new_snapshot()
    assert (await node.take_snapshot(spec.id, snapshot, False)).consistency is Consistency.STOPPED
    await started(node, spec)
    assert await said(node, spec, "cat", "/root/file") == "off"
    await write(node, spec, "/root/file", "on")
    await revert(node, spec, snapshot)
    assert await said(node, spec, "cat", "/root/file") == "off"


async def test_with_memory_its_guest_goes_on(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    await write(node, spec, "/root/file", "then")
    snapshot = new_snapshot()
    report = await node.take_snapshot(spec.id, snapshot, True)
    assert report.consistency is Consistency.CRASH
    await write(node, spec, "/root/file", "now")
    before = await report_of(node, spec)
    assert await revert(node, spec, snapshot, with_memory=True) == ["wake", "ready"]
    assert await said(node, spec, "cat", "/root/file") == "then"
    assert (await report_of(node, spec)).pid != before.pid
    assert Records(folder).load(spec.id).saved is None
    assert "ready" in await revert(node, spec, snapshot)
    assert await said(node, spec, "cat", "/root/file") == "then"


@pytest.mark.parametrize("with_memory", [False, True])
async def test_another_instance_goes_on_as_somebody_else(
    node: Node, new_spec: NewSpec, folder: Path, with_memory: bool
) -> None:
    spec = new_spec()
    await booted(node, spec)
    await write(node, spec, "/root/file", "then")
    snapshot = new_snapshot()
    await node.take_snapshot(spec.id, snapshot, with_memory)
    await node.forget(spec.id)
    one, two = child_of(spec, 1), child_of(spec, 2)
    for other in (one, two):
        phases = await launched(node, other, snapshot, with_memory=with_memory)
        assert phases == (["renew", "ready"] if with_memory else phases)
        if with_memory:  # the fake guest's files go with an instance that has no memory to keep them
            assert await said(node, other, "cat", "/root/file") == "then"
            assert await said(node, other, "cat", "/var/lib/insula/renewed") == f"{other.mac}\n"
    await node.remove_snapshot(snapshot)
    assert len(points(folder)) == 1
    await node.forget(one.id)
    await node.forget(two.id)
    assert points(folder) == []


async def test_a_larger_disk_goes_on_from_a_smaller_one(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.take_snapshot(spec.id, snapshot := new_snapshot(), False)
    other = child_of(spec)
    other = replace(other, resources=replace(other.resources, disk_gib=50))
    await launched(node, other, snapshot)
    assert '"size_gib": 50' in (folder / "instances" / other.id / "disk.qcow2").read_text()


async def test_what_has_a_snapshot_keeps_its_image(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.take_snapshot(spec.id, snapshot := new_snapshot(), False)
    await node.forget(spec.id)
    with pytest.raises(Conflict, match="in use"):
        await node.delete_image(spec.image)
    await node.remove_snapshot(snapshot)
    await node.delete_image(spec.image)


async def test_firmware_variables_are_part_of_it(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec(firmware=Firmware.UEFI)
    spec = replace(spec, resources=replace(spec.resources, memory_mib=512))
    await booted(node, spec)
    nvram = folder / "instances" / spec.id / "nvram.qcow2"
    for is_on in (True, False):
        nvram.write_text("then")
        await node.take_snapshot(spec.id, snapshot := new_snapshot(), False)
        nvram.write_text("now")
        await revert(node, spec, snapshot)
        assert nvram.read_text() == "then"
        if is_on:
            await node.stop(spec.id, 5)
    with pytest.raises(Unsupported, match="memory"):
        await node.take_snapshot(spec.id, new_snapshot(), True)


async def test_who_is_paused_is_not_asked_and_stays_paused(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.pause(spec.id)
    for with_memory in (False, True):
        report = await node.take_snapshot(spec.id, new_snapshot(), with_memory)
        assert report.consistency is Consistency.CRASH
        assert (await report_of(node, spec)).power is Power.PAUSED
    await node.resume(spec.id)


async def test_a_guest_that_cannot_be_frozen_is_told_of(
    node: Node, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = new_spec()
    await booted(node, spec)

    async def refuses(*_: object) -> int:
        raise ValueError("no such file system")

    async def does_not_hold(guest: FakeGuest, _: object) -> int:
        guest._set_frozen(False)
        return 0

    for name, broken in (("_freeze", refuses), ("_thaw", does_not_hold), ("_exec", refuses)):
        with monkeypatch.context() as for_now:
            for_now.setattr(FakeGuest, name, broken)
            await node.stop(spec.id, 0)
            await started(node, spec)
            report = await node.take_snapshot(spec.id, new_snapshot(), False)
        assert report.consistency is Consistency.CRASH, name
    await node.stop(spec.id, 0)
    await started(node, spec)
    assert (await node.take_snapshot(spec.id, new_snapshot(), False)).consistency is Consistency.FILESYSTEM


async def test_it_is_refused_while_it_makes_no_sense(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.take_snapshot(spec.id, snapshot := new_snapshot(), True)
    await node.hibernate(spec.id)
    with pytest.raises(Conflict, match="Wake"):
        await node.take_snapshot(spec.id, new_snapshot(), False)
    await started(node, spec)
    await node.stop(spec.id, 0)
    with pytest.raises(Conflict):
        await node.take_snapshot(spec.id, new_snapshot(), True)
    await node.set_disk_aside(spec.id)
    with pytest.raises(NotFound):
        await node.make_disk_from_snapshot(spec, new_snapshot(), False)
    await node.make_disk_from_snapshot(spec, snapshot, True)
    with pytest.raises(Conflict, match="memory"):
        await node.remove_snapshot(snapshot)
    await node.discard_memory(spec.id)
    await node.remove_snapshot(snapshot)


async def test_a_layer_that_is_gone_is_told_before_anything_is_given_up(
    node: Node, new_spec: NewSpec, folder: Path
) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.take_snapshot(spec.id, snapshot := new_snapshot(), False)
    await node.check_snapshot(spec, snapshot, False)
    (points(folder)[0] / "disk.qcow2").unlink()
    with pytest.raises(DataCorrupt, match="missing"):
        await node.check_snapshot(spec, snapshot, False)


async def test_memory_of_another_machine_is_refused(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await booted(node, spec)
    await node.take_snapshot(spec.id, snapshot := new_snapshot(), True)
    other = child_of(spec)
    other = replace(other, resources=replace(other.resources, memory_mib=256))
    await node.configure(other)
    with pytest.raises(Unsupported, match="disk alone"):
        await node.make_disk_from_snapshot(other, snapshot, True)
    await node.make_disk_from_snapshot(other, snapshot, False)


async def test_one_that_fails_leaves_nothing(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = new_spec()
    await booted(node, spec)

    async def fails(*_: object) -> int:
        raise GuestFailure("sabotage")

    for with_memory, name in ((False, "add_layer"), (True, "fork")):
        monkeypatch.setattr(FakeMachine, name, fails)
        with pytest.raises(GuestFailure):
            await node.take_snapshot(spec.id, new_snapshot(), with_memory)
    assert list((folder / "snapshots").iterdir()) == []
    assert Records(folder).load(spec.id).forking is None
    assert await said(node, spec, "echo", "it thaws") == "it thaws\n"

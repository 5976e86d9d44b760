"""What killed services, restarts and many snapshots leave on a node, over the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import DataCorrupt, DiskFull, InsulaError
from insula.domain.snapshot import Consistency
from insula.node.agent import Node
from insula.node.agent.records import Records
from insula.node.hypervisor.driver import LayerFiles
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.node.storage.memory import MemoryDisks
from insula.protocol.node import InstanceSpec, Power

from .conftest import make_node, quiet
from .test_forks import booted, child_of, points, said, write
from .test_node import report_of
from .test_snapshots import new_snapshot, revert, started

NewSpec = Callable[..., InstanceSpec]


@pytest.mark.parametrize("place", ["layer", "freeze", "turn", "after turn", "store", "finish"])
async def test_a_service_that_ends_anywhere_leaves_a_guest_that_runs(
    folder: Path, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whole or gone, nothing left, and the guest writes again."""
    spec, snapshot = new_spec(), new_snapshot()
    reached = asyncio.Event()
    add_layer = FakeMachine.add_layer

    async def hang(*_: object) -> Any:
        reached.set()
        await asyncio.Event().wait()

    async def late(machine: FakeMachine, files: LayerFiles) -> int:
        await add_layer(machine, files)
        return int(await hang() or 0)

    async def nothing(*_: object) -> None:
        """What a killed service does."""

    hanging = {
        "layer": ("insula.node.storage.memory.MemoryDisks.layer", hang),
        "freeze": ("insula.node.agent.freezing._freeze", hang),
        "turn": ("insula.node.hypervisor.fake.machine.FakeMachine.add_layer", hang),
        "after turn": ("insula.node.hypervisor.fake.machine.FakeMachine.add_layer", late),
        "store": ("insula.node.agent.snapshots._store", hang),
        "finish": ("insula.node.agent.freezing._thaw", hang),
    }
    async with make_node(folder) as first:
        await first.prepare_image("tiny", quiet)
        await booted(first, spec)
        await write(first, spec, "/root/file", "kept")
        monkeypatch.setattr(*hanging[place])
        working = asyncio.create_task(first.take_snapshot(spec.id, snapshot, place == "store"))
        await asyncio.wait_for(reached.wait(), 5)
        is_frozen = state.load(folder / "instances" / spec.id)
        assert is_frozen is not None
        assert is_frozen.is_frozen is (place in {"turn", "after turn", "finish"})
        monkeypatch.setattr("insula.node.agent.layers.Layers._undo", nothing)  # nobody clears up after kill -9
        monkeypatch.setattr("insula.node.agent.snapshot_store.SnapshotStore.remove", lambda *_: None)
    monkeypatch.undo()
    await check_the_next_service(folder, spec, snapshot)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def check_the_next_service(folder: Path, spec: InstanceSpec, snapshot: str) -> None:
    async with make_node(folder) as second:
        async with asyncio.timeout(5):
            while await frozen(second, spec):  # it is told to thaw as soon as its machine was found
                await asyncio.sleep(0.01)
        assert (await report_of(second, spec)).power is Power.ON
        assert Records(folder).load(spec.id).forking is None
        assert await said(second, spec, "cat", "/root/file") == "kept"
        report = await second.take_snapshot(spec.id, snapshot, False)
        assert report.consistency is Consistency.FILESYSTEM
        await revert(second, spec, snapshot)
        assert await said(second, spec, "cat", "/root/file") == "kept"
        assert await second.leftovers(frozenset({spec.id}), True) != []
        assert list((folder / "snapshots").iterdir()) == []
        await second.forget(spec.id)
        assert points(folder) == []


async def frozen(node: Node, spec: InstanceSpec) -> bool:
    try:
        return await said(node, spec, "echo", "thawed") != "thawed\n"
    except InsulaError:
        return True


async def test_what_many_snapshots_leave_is_merged(
    node: Node, new_spec: NewSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[str] = []
    is_full = False

    async def merge(_: object, disk: Path, base: Path) -> None:
        merged.append(f"off: {base.name}")

    async def merge_layers(_: FakeMachine, base: Path) -> None:
        if is_full:
            raise DiskFull("There is no room")
        merged.append(f"on: {base.name}")

    monkeypatch.setattr(MemoryDisks, "merge", merge)
    monkeypatch.setattr(FakeMachine, "merge_layers", merge_layers)
    spec = new_spec()
    await booted(node, spec)
    ids = [new_snapshot() for _ in range(20)]
    for number, snapshot in enumerate(ids):
        await write(node, spec, "/root/file", f"at {number}")
        await node.take_snapshot(spec.id, snapshot, number == 3)
    assert merged == ["on: tiny.json"] * 2
    for number in (0, 3, 19, 8):
        await revert(node, spec, ids[number])
        assert await said(node, spec, "cat", "/root/file") == f"at {number}"
    await node.stop(spec.id, 0)
    for _ in range(8):
        await node.take_snapshot(spec.id, new_snapshot(), False)
    assert merged[2:] == ["off: tiny.json"]

    is_full = True
    await started(node, spec)
    while depth(folder, spec) < 41:
        await node.take_snapshot(spec.id, new_snapshot(), False)
    with pytest.raises(DiskFull):
        await node.take_snapshot(spec.id, new_snapshot(), False)
    is_full = False
    await node.take_snapshot(spec.id, new_snapshot(), False)
    assert len(merged) == 4
    assert depth(folder, spec) == 2


def depth(folder: Path, spec: InstanceSpec) -> int:
    """How many files its disk is based on, the image among them."""
    image = Records(folder).load(spec.id).image
    return len(image.disks) if image is not None else 0


async def test_they_are_there_after_the_service_has_restarted(folder: Path, new_spec: NewSpec) -> None:
    spec, ids = new_spec(), [new_snapshot() for _ in range(2)]
    async with make_node(folder) as first:
        await first.prepare_image("tiny", quiet)
        await booted(first, spec)
        for snapshot in ids:
            await first.take_snapshot(spec.id, snapshot, False)
        await first.forget(spec.id)
    record = folder / "snapshots" / ids[0] / "snapshot.json"
    async with make_node(folder):
        assert len(points(folder)) == 2
    record.write_text("{")
    async with make_node(folder) as third:
        assert len(points(folder)) == 2  # nobody knows what the damaged one needs
        await third.configure(other := child_of(spec))
        with pytest.raises(DataCorrupt, match="damaged"):
            await third.make_disk_from_snapshot(other, ids[0], False)
        await third.remove_snapshot(ids[1])
        assert len(points(folder)) == 2
        await third.remove_snapshot(ids[0])
        assert points(folder) == []

"""Publishing on a node: a machine that cleans a copy, what becomes of it, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from insula.base.errors import GuestFailure, HostFailure, NotFound, Unsupported
from insula.domain.ids import Kind, new_id
from insula.node.agent import Node
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.protocol.node import InstanceSpec
from tests.unit.node.agent.conftest import make_node, quiet

NewSpec = Callable[..., InstanceSpec]


async def snapshot_of(node: Node, spec: InstanceSpec) -> str:
    await node.configure(spec)
    await node.make_disk(spec)
    snapshot_id = new_id(Kind.SNAPSHOT)
    await node.take_snapshot(spec.id, snapshot_id, False)
    return snapshot_id


async def test_its_machine_has_no_network_no_seed_and_none_of_the_guests_programs(
    folder: Path, new_spec: NewSpec
) -> None:
    seen: list[MachineSpec] = []

    def watch(spec: MachineSpec) -> Faults:
        seen.append(spec)
        return Faults()

    async with make_node(folder, FakeDriver(faults=watch)) as node:
        await node.prepare_image("tiny", quiet)
        snapshot_id = await snapshot_of(node, new_spec())
        image_id = new_id(Kind.IMAGE)
        made = await node.publish_image(image_id, "Mine", snapshot_id, quiet)
        assert (made.name, made.state, made.min_disk_gib) == (image_id, "ready", 2)
        (machine,) = seen
        assert (machine.nic, machine.seed, machine.volumes) == (None, None, ())
        assert machine.direct_boot is not None
        assert machine.direct_boot.initrd == machine.disk.with_name("initrd")
        assert "insula.task=generalise" in machine.direct_boot.command_line
        assert list((folder / "publishing").iterdir()) == []
        await node.publish_image(image_id, "Mine", snapshot_id, quiet)
        assert len(seen) == 1, "what is there is not made again"


async def test_an_instance_of_it_outlives_what_it_was_made_of(node: Node, new_spec: NewSpec) -> None:
    origin = new_spec()
    snapshot_id = await snapshot_of(node, origin)
    image_id = new_id(Kind.IMAGE)
    await node.publish_image(image_id, "Mine", snapshot_id, quiet)
    await node.remove_snapshot(snapshot_id)
    await node.forget(origin.id)
    child = new_spec(name="web2", image=image_id)
    await node.configure(child)
    await node.make_disk(child)
    await node.start(child.id)
    with pytest.raises(Exception, match="in use"):
        await node.delete_image(image_id)
    await node.forget(child.id)
    await node.delete_image(image_id)
    await node.delete_image(image_id)
    assert image_id not in {image.name for image in await node.images()}


@pytest.mark.parametrize(
    ("faults", "error"),
    [(Faults(broken_program="generalise"), GuestFailure), (Faults(fail_start="no memory"), HostFailure)],
)
async def test_what_is_not_cleaned_is_no_image(
    folder: Path, new_spec: NewSpec, faults: Faults, error: type[Exception]
) -> None:
    driver = FakeDriver()
    async with make_node(folder, driver) as node:
        await node.prepare_image("tiny", quiet)
        snapshot_id = await snapshot_of(node, new_spec())
        driver.faults = faults
        image_id = new_id(Kind.IMAGE)
        with pytest.raises(error):
            await node.publish_image(image_id, "Mine", snapshot_id, quiet)
        assert image_id not in {image.name for image in await node.images()}
        assert list((folder / "publishing").iterdir()) == []


async def test_a_strangers_system_is_refused(node: Node, new_spec: NewSpec, folder: Path) -> None:
    file = folder / "strange.raw"
    file.write_bytes(bytes(512))
    await node.import_image("strange", str(file), "raw", quiet)
    snapshot_id = await snapshot_of(node, new_spec(image="strange"))
    with pytest.raises(Unsupported):
        await node.publish_image(new_id(Kind.IMAGE), "Mine", snapshot_id, quiet)
    with pytest.raises(NotFound):
        await node.publish_image(new_id(Kind.IMAGE), "Mine", new_id(Kind.SNAPSHOT), quiet)


async def test_the_next_start_removes_what_a_kill_left(folder: Path, new_spec: NewSpec) -> None:
    draft = folder / "publishing" / new_id(Kind.IMAGE)
    async with make_node(folder):
        draft.mkdir(parents=True)
        (draft / "disk.qcow2").write_text("{}")
    async with make_node(folder):
        assert not draft.exists()

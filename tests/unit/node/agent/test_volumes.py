"""Volumes on a node: who may have one, and what is left of one when something was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from insula.base.errors import Conflict, DataCorrupt, NotFound
from insula.domain.ids import Kind, new_id
from insula.node.agent import Node
from insula.node.hypervisor.fake import state
from insula.protocol.node import InstanceSpec, VolumeSpec

from .conftest import make_node, no_phase, quiet

NewSpec = Callable[..., InstanceSpec]


def new_volume(name: str = "data") -> VolumeSpec:
    return VolumeSpec(new_id(Kind.VOLUME), "default", name, 3)


async def boot(node: Node, spec: InstanceSpec) -> str:
    """The name of the phase that its boot began with."""
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    return (await node.await_ready(spec.id, 10, no_phase)).phases[0].name


async def attached(node: Node, spec: InstanceSpec) -> VolumeSpec:
    volume = new_volume()
    await node.make_volume(volume)
    await node.attach_volume(volume.id, spec.id)
    return volume


async def test_a_guest_of_a_template_is_not_given_volumes_that_it_cannot_see(node: Node, new_spec: NewSpec) -> None:
    spec = new_spec()
    await node.warm_image(spec)
    await node.configure(spec)
    await node.make_disk(spec)
    await attached(node, spec)
    assert await boot(node, spec) == "firmware", "attached before its first start"
    await node.stop(spec.id, 5)
    await node.set_disk_aside(spec.id)
    assert await boot(node, spec) == "firmware", "rebuilt with a volume"
    assert await boot(node, new_spec(name="web2")) == "renew"


async def test_a_growth_that_nobody_saw_end_is_never_taken_back(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await boot(node, spec)
    volume = await attached(node, spec)
    machine = node._keeper(spec.id).require_machine()
    await machine.grow_volume(volume.id, 9)  # type: ignore[attr-defined]  # the fake's machines can
    with pytest.raises(Conflict, match="smaller"):
        await node.grow_volume(volume.id, 5)
    await node.detach_volume(volume.id, "", False)
    with pytest.raises(Conflict, match="smaller"):
        await node.grow_volume(volume.id, 5)
    await node.grow_volume(volume.id, 9)


@pytest.mark.parametrize("content", [None, "no disk at all"])
async def test_a_volume_that_is_damaged_is_not_attached(
    node: Node, new_spec: NewSpec, folder: Path, content: str | None
) -> None:
    spec, volume = new_spec(), new_volume()
    await boot(node, spec)
    await node.make_volume(volume)
    disk = folder / "volumes" / volume.id / "volume.qcow2"
    disk.unlink()
    if content is not None:
        disk.write_text(content)
    with pytest.raises((NotFound, DataCorrupt)):
        await node.attach_volume(volume.id, spec.id)
    assert node._keeper(spec.id).record.volumes == ()
    await node.detach_volume(volume.id, spec.id, True)  # the undo
    await node.remove_volume(volume.id)
    assert not (folder / "volumes" / volume.id).exists()


async def test_an_instance_whose_volume_is_gone_can_be_deleted(node: Node, new_spec: NewSpec, folder: Path) -> None:
    spec = new_spec()
    await boot(node, spec)
    volume = await attached(node, spec)
    (folder / "volumes" / volume.id / "volume.qcow2").unlink()
    await node.forget(spec.id)
    assert not (folder / "instances" / spec.id).exists()
    await node.remove_volume(volume.id)


async def test_a_volume_whose_record_is_damaged_is_taken_away_by_force(
    node: Node, new_spec: NewSpec, folder: Path
) -> None:
    spec = new_spec()
    await boot(node, spec)
    volume = await attached(node, spec)
    (folder / "volumes" / volume.id / "volume.json").write_text("{")
    with pytest.raises(DataCorrupt, match="damaged"):
        await node.detach_volume(volume.id, "", False)
    await node.detach_volume(volume.id, "", True)
    assert node._keeper(spec.id).record.volumes == ()


async def test_a_service_that_comes_back_attaches_what_the_record_says(folder: Path, new_spec: NewSpec) -> None:
    """As when it was killed between the record and the machine, or between the machine and the record."""
    spec = new_spec()
    async with make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        await boot(node, spec)
        volume = await attached(node, spec)
        await node._keeper(spec.id).require_machine().detach_volume(volume.id)  # type: ignore[attr-defined]
    async with make_node(folder) as node:
        found = await asyncio.to_thread(state.load, folder / "instances" / spec.id)
        assert found is not None
        assert set(found.volumes) == {volume.id}
        await node.detach_volume(volume.id, "", False)
        assert node._keeper(spec.id).record.volumes == ()

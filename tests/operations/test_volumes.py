"""Volumes from their creation to their deletion, and what they and their instances allow each other meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from insula.base.errors import CapacityExceeded, Conflict
from insula.control.nodes import Nodes
from insula.control.scheduler import HostPolicy, Scheduler
from insula.control.store import Acceptance, VolumeChange
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import OperationState, Verb
from insula.domain.volume import MAX_ATTACHED, Volume, VolumeState, room_of
from insula.node.agent import Node
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import Power
from tests.operations.control import PATIENCE_S, Control, make_operation, make_volume, open_control
from tests.operations.sabotage import Mode, Saboteur, world


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


def volumes_of(folder: Path, instance: Instance) -> set[str]:
    """What the running machine has."""
    found = state.load(folder / "instances" / instance.id)
    assert found is not None
    return set(found.volumes)


async def volume(control: Control, name: str = "data") -> Volume:
    return await control.store.volumes.get("default", name)


async def test_a_volume_lives(control: Control, folder: Path) -> None:
    one, two = await control.create("web1"), await control.create("web2")
    made = await control.create_volume()
    assert (made.state, made.instance_id) == (VolumeState.AVAILABLE, None)
    assert (folder / "volumes" / made.id / "volume.qcow2").exists()

    await control.do_volume(Verb.ATTACH_VOLUME, made, to=one.id)
    attached = await volume(control)
    assert (attached.state, attached.instance_id) == (VolumeState.ATTACHED, one.id)
    assert volumes_of(folder, one) == {made.id}

    with pytest.raises(Conflict, match="attached to web1") as refused:
        await control.accept_volume(Verb.ATTACH_VOLUME, made, to=two.id)
    assert "--move" in refused.value.todo
    moved = await control.do_volume(Verb.ATTACH_VOLUME, made, to=two.id, moves=True)
    assert moved.state is OperationState.SUCCEEDED, moved.error
    assert (await volume(control)).instance_id == two.id
    assert (volumes_of(folder, one), volumes_of(folder, two)) == (set(), {made.id})

    with pytest.raises(Conflict, match="attached to web2"):
        await control.accept_volume(Verb.DELETE_VOLUME, made)
    await control.do_volume(Verb.DETACH_VOLUME, made)
    assert (await volume(control)).state is VolumeState.AVAILABLE
    deleted = await control.do_volume(Verb.DELETE_VOLUME, made)
    assert deleted.state is OperationState.SUCCEEDED, deleted.error
    assert await control.store.volumes.all() == []
    assert not (folder / "volumes" / made.id).exists()


async def test_a_volume_is_made_for_an_instance(control: Control, folder: Path) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    assert (made.state, made.instance_id) == (VolumeState.ATTACHED, one.id)
    assert volumes_of(folder, one) == {made.id}


async def test_every_machine_of_an_instance_has_its_volumes(control: Control, folder: Path) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    for verb in (Verb.REBOOT_INSTANCE, Verb.HIBERNATE_INSTANCE, Verb.START_INSTANCE, Verb.STOP_INSTANCE):
        await control.do(verb, one, graceful_s=5)
    await control.do(Verb.START_INSTANCE, one)
    assert volumes_of(folder, one) == {made.id}
    ended = await control.do(Verb.REBUILD_INSTANCE, one, graceful_s=5)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert volumes_of(folder, one) == {made.id}


async def test_it_is_attached_while_its_instance_is_off(control: Control, folder: Path) -> None:
    one = await control.create()
    await control.do(Verb.STOP_INSTANCE, one, graceful_s=5)
    made = await control.create_volume(to=one.id)
    await control.do(Verb.START_INSTANCE, one)
    assert volumes_of(folder, one) == {made.id}


async def test_a_deleted_instance_leaves_its_volumes(control: Control) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    await control.do(Verb.DELETE_INSTANCE, one)
    left = await volume(control)
    assert (left.state, left.instance_id) == (VolumeState.AVAILABLE, None)
    two = await control.create("web2")
    ended = await control.do_volume(Verb.ATTACH_VOLUME, made, to=two.id)
    assert ended.state is OperationState.SUCCEEDED, ended.error


async def test_an_instance_that_sleeps_keeps_what_it_has(control: Control, folder: Path) -> None:
    one = await control.create()
    made, other = await control.create_volume(to=one.id), await control.create_volume("more")
    await control.do(Verb.HIBERNATE_INSTANCE, one)
    for verb, which, to in (
        (Verb.DETACH_VOLUME, made, ""),
        (Verb.GROW_VOLUME, made, ""),
        (Verb.ATTACH_VOLUME, other, one.id),
    ):
        with pytest.raises(Conflict, match="cannot change now") as refused:
            await control.accept_volume(verb, which, to=to, size_gib=9)
        assert "insula start web1" in refused.value.todo
    await control.do(Verb.START_INSTANCE, one)
    assert volumes_of(folder, one) == {made.id}


async def test_an_instance_with_volumes_is_not_forked(control: Control) -> None:
    one = await control.create()
    await control.create_volume(to=one.id)
    with pytest.raises(Conflict, match="cannot be forked") as refused:
        await control.accept(Verb.FORK_INSTANCE, one)
    assert "data" in refused.value.why
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.RUNNING


async def test_a_volume_in_use_is_not_taken_away(control: Control) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    place = f"/run/mounted/{made.id}"
    await control.node.write_file(one.id, place, _text("/srv"), 0o644)
    refused = await control.do_volume(Verb.DETACH_VOLUME, made)
    assert refused.state is OperationState.FAILED
    assert refused.error is not None
    assert (refused.error["code"], refused.error["why"]) == ("volume-in-use", "mounted /srv")
    assert (await volume(control)).state is VolumeState.ATTACHED
    forced = await control.do_volume(Verb.DETACH_VOLUME, made, force=True)
    assert forced.state is OperationState.SUCCEEDED, forced.error


async def _text(content: str) -> AsyncIterator[bytes]:
    yield content.encode()


async def test_a_volume_grows_with_what_is_mounted_from_it(control: Control, folder: Path) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    await control.node.write_file(one.id, f"/run/mounted/{made.id}", _text("/srv"), 0o644)
    grown = await control.do_volume(Verb.GROW_VOLUME, made, size_gib=7)
    assert grown.result == {"size_gib": 7, "grown": ["/srv"], "todo": ""}
    assert (await volume(control)).size_gib == 7
    assert '"size_gib": 7' in (folder / "volumes" / made.id / "volume.qcow2").read_text()

    await control.do_volume(Verb.DETACH_VOLUME, made, force=True)
    grown = await control.do_volume(Verb.GROW_VOLUME, made, size_gib=8)
    assert grown.result == {"size_gib": 8, "grown": [], "todo": ""}


async def test_nothing_mounted_is_told(control: Control) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    grown = await control.do_volume(Verb.GROW_VOLUME, made, size_gib=7)
    assert grown.result is not None
    assert "Nothing is mounted from it" in grown.result["todo"]


async def test_limits_change_while_it_is_used(control: Control) -> None:
    one = await control.create()
    made = await control.create_volume(to=one.id)
    ended = await control.do_volume(Verb.LIMIT_VOLUME, made, disk_iops=100, disk_mbps=2)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await volume(control)
    assert (found.state, found.disk_iops, found.disk_mbps) == (VolumeState.ATTACHED, 100, 2)
    machine = control.node._keeper(one.id).require_machine()
    assert isinstance(machine, FakeMachine)
    assert machine.volume_limits[made.id].disk_iops == 100


async def test_an_instance_is_busy_while_its_volume_changes(control: Control, saboteur: Saboteur) -> None:
    one = await control.create()
    made, other = await control.create_volume(), await control.create_volume("more")
    saboteur.aim(Verb.ATTACH_VOLUME, "attach", Mode.HANG_AFTER)
    hanging = await control.accept_volume(Verb.ATTACH_VOLUME, made, to=one.id)
    await asyncio.wait_for(saboteur.reached.wait(), PATIENCE_S)
    for verb in (Verb.DELETE_INSTANCE, Verb.HIBERNATE_INSTANCE, Verb.STOP_INSTANCE):
        with pytest.raises(Conflict) as refused:
            await control.accept(verb, one)
        assert refused.value.code == "operation-in-progress"
    with pytest.raises(Conflict, match="busy"):
        await control.accept_volume(Verb.DETACH_VOLUME, made)
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.do_volume(Verb.ATTACH_VOLUME, other, to=one.id)  # another volume need not wait
    assert ended.state is OperationState.SUCCEEDED, ended.error
    await control.engine.cancel("default", hanging.id)
    await control.wait(hanging)
    assert (await volume(control)).state is VolumeState.AVAILABLE
    await control.do(Verb.DELETE_INSTANCE, one)


async def test_a_volume_waits_until_its_instance_is_at_rest(control: Control, saboteur: Saboteur) -> None:
    one = await control.create()
    made = await control.create_volume()
    saboteur.aim(Verb.HIBERNATE_INSTANCE, "hibernate", Mode.HANG_AFTER)
    hanging = await control.accept(Verb.HIBERNATE_INSTANCE, one)
    await asyncio.wait_for(saboteur.reached.wait(), PATIENCE_S)
    with pytest.raises(Conflict, match="web1 is busy"):
        await control.accept_volume(Verb.ATTACH_VOLUME, made, to=one.id)
    await control.engine.cancel("default", hanging.id)
    await control.wait(hanging)
    ended = await control.do_volume(Verb.ATTACH_VOLUME, made, to=one.id)
    assert ended.state is OperationState.SUCCEEDED, ended.error


async def test_an_instance_has_no_more_than_its_controller_takes(control: Control) -> None:
    one = await control.create()
    for number in range(MAX_ATTACHED):
        await control.create_volume(f"data{number}", to=one.id)
    with pytest.raises(Conflict, match="which is the most"):
        await control.create_volume("data", to=one.id)


async def test_a_volume_takes_room_of_its_node(control: Control, node: Node) -> None:
    made = await control.create_volume()
    (before,) = await control.scheduler.capacity()
    assert (before.disk_gib.used, before.instances) == (made.size_gib, 0)
    free_gib = (await node.describe()).disk_free_gib
    policy = HostPolicy(reserve_memory_mib=1, overcommit_disk=5 / free_gib)
    tight = Scheduler(control.store, Nodes({"local": node}), policy)
    place = await tight.placer(room_of(6), "local")
    operation = make_operation(Verb.GROW_VOLUME, made, {"size_gib": 6})
    with pytest.raises(CapacityExceeded):
        await control.store.accept(Acceptance(operation, volume_change=VolumeChange(VolumeState.GROWING), place=place))
    assert (await volume(control)).state is VolumeState.AVAILABLE


async def test_a_disk_grows_and_limits_change_without_a_reboot(control: Control) -> None:
    one = await control.create()
    before = (await control.node.observe())[0]
    wanted = replace(one.resources, disk_gib=9, disk_iops=50)
    ended = await control.do(Verb.RESIZE_INSTANCE, one, resources=asdict(wanted))
    assert ended.result == {"rebooted": False, "grown": ["/"], "todo": ""}
    found = await control.store.instances.get("default", "web1")
    assert (found.resources, found.state) == (wanted, InstanceState.RUNNING)
    after = (await control.node.observe())[0]
    assert (after.pid, after.power, after.phases) == (before.pid, Power.ON, before.phases)
    machine = control.node._keeper(one.id).require_machine()
    assert isinstance(machine, FakeMachine)
    assert machine.limits is not None
    assert machine.limits.disk_iops == 50


async def test_more_memory_needs_a_reboot(control: Control) -> None:
    one = await control.create()
    wanted = replace(one.resources, memory_mib=512)
    ended = await control.do(Verb.RESIZE_INSTANCE, one, resources=asdict(wanted), graceful_s=5)
    assert ended.result is not None
    assert ended.result["rebooted"]


async def test_leftovers_of_volumes_are_found(control: Control, folder: Path) -> None:
    one = await control.create()
    kept, lost = await control.create_volume(), await control.create_volume("lost")
    attached = await control.create_volume("attached", to=one.id)
    known = frozenset({one.id, kept.id})
    found = await control.node.leftovers(known, remove=True)
    assert [entry.name for entry in found] == [str(folder / "volumes" / lost.id)]
    assert (folder / "volumes" / attached.id).exists(), "an instance has it, whoever has forgotten it"
    assert await control.node.leftovers(known | {attached.id}, remove=False) == []


async def test_a_failed_creation_can_be_retried(control: Control, saboteur: Saboteur, folder: Path) -> None:
    one = await control.create()
    before = await world(control, folder)
    saboteur.aim(Verb.CREATE_VOLUME, "attach", Mode.FAIL_AFTER)
    ended = await control.do_volume(Verb.CREATE_VOLUME, make_volume(instance_id=one.id))
    assert ended.state is OperationState.FAILED
    assert await world(control, folder) == before
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.wait(await control.engine.retry("default", ended.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert (await volume(control)).instance_id == one.id

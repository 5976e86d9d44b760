"""Guests that wait for the next creates, on the fake driver."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.capacity import Share
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Platform, Resources
from insula.node.agent import Node
from insula.node.agent.pool_rules import PoolRules
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.protocol.node import InstanceSpec, Nic, Power
from tests.connected import SPACE, connect, open_network

from .conftest import ASKED, make_node, no_phase, quiet
from .test_templates import phases

NewSpec = Callable[..., InstanceSpec]

CALM = replace(ASKED, calm_load=1e9)
POOL = PoolRules(memory_mib=1024, pause_s=0.01, longest_pause_s=0.02)
_PATIENCE_S = 5.0
_LONG_ENOUGH_S = 0.3  # for a member to be made, if one were


def pooling(folder: Path, pool: PoolRules = POOL, driver: FakeDriver | None = None) -> Node:
    return make_node(folder, driver, CALM, pool)


@pytest.fixture
async def node(folder: Path, new_spec: NewSpec) -> AsyncIterator[Node]:
    async with pooling(folder) as node:
        await ready_to_pool(node, new_spec())
        yield node


async def ready_to_pool(node: Node, spec: InstanceSpec) -> None:
    await node.prepare_image("tiny", quiet)
    await node.make_template(spec)


def waiting(node: Node) -> frozenset[str]:
    return frozenset(node._pool._waiting)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not is_true():
            await asyncio.sleep(0.01)


async def filled(node: Node, spec: InstanceSpec, count: int = 2) -> None:
    """The first who asks gets none; for the next some wait."""
    await open_network(node)
    assert await node.draw(spec) is None
    await until(lambda: len(waiting(node)) == count)


async def drawn(node: Node, spec: InstanceSpec) -> InstanceSpec:
    found = await node.draw(spec)
    assert found is not None
    made = replace(spec, id=found.id, nics=(Nic(found.port.mac, SPACE, found.port.id),))
    await connect(node, made, port=found.port)
    return made


async def begun(node: Node, spec: InstanceSpec) -> InstanceSpec:
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    return spec


async def read(node: Node, spec: InstanceSpec, path: str) -> str:
    return (await node.execute(spec.id, ["cat", path], b"", 5)).stdout.decode()


def folders(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in (folder / "instances").iterdir())


def is_running(folder: Path, instance_id: str) -> bool:
    found = state.load(folder / "instances" / instance_id)
    return found is not None and found.status != "ended"


async def test_one_that_says_what_it_is_takes_none_and_leaves_others_theirs(node: Node, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    assert await node.draw(new_spec(platform=Platform.EC2)) is None
    await asyncio.sleep(_LONG_ENOUGH_S)
    assert len(waiting(node)) == 2
    assert await node.draw(new_spec()) is not None


async def test_two_creates_get_two_members(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    specs = [await drawn(node, new_spec(name=f"web{n}", ssh_keys=(f"key {n}",))) for n in (1, 2)]
    assert specs[0].id != specs[1].id
    for spec in specs:
        boot = await node.await_ready((await begun(node, spec)).id, 5, no_phase)
        assert phases(boot) == ["adopt", "ready"]
        assert await read(node, spec, "/etc/hostname") == f"{spec.hostname}\n"
        assert await read(node, spec, "/root/.ssh/authorized_keys") == f"{spec.ssh_keys[0]}\n"
        assert json.loads((folder / "instances" / spec.id / "seed.iso").read_bytes()) == {"hostname": spec.hostname}
        record = json.loads((folder / "instances" / spec.id / "spec.json").read_bytes())["record"]
        assert (record["is_member"], record["identity"], record["is_renewing"]) == (False, None, False)
    assert {report.id for report in await node.observe()} == {spec.id for spec in specs}


async def test_members_stand_still_and_nobody_hears_of_them(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    for instance_id in waiting(node):
        machine = state.load(folder / "instances" / instance_id)
        assert machine is not None
        assert (machine.status, machine.link_up) == ("paused", True)
    assert await node.observe() == []
    assert await node.leftovers(frozenset(), remove=True) == []
    assert len(waiting(node)) == 2
    assert (await node.describe()).spare.memory_mib >= 256


async def test_without_a_budget_there_are_none(folder: Path, new_spec: NewSpec) -> None:
    async with pooling(folder, replace(POOL, memory_mib=0)) as node:
        await ready_to_pool(node, new_spec())
        assert await node.draw(new_spec()) is None
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert folders(folder) == frozenset()
        assert (await node.describe()).spare == Share(0)


async def test_the_budget_is_kept(folder: Path, new_spec: NewSpec) -> None:
    async with pooling(folder, replace(POOL, memory_mib=200)) as node:
        await ready_to_pool(node, new_spec())
        await filled(node, new_spec(), count=1)
        await drawn(node, new_spec())
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert waiting(node) == frozenset(), "the one that was drawn counts until it is an instance's"


async def test_only_who_wants_just_that_shape_gets_one(node: Node, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    assert await node.draw(new_spec(resources=Resources(1, 128, 2, 50))) is None
    assert await node.draw(new_spec(resources=Resources(1, 256, 2, 100))) is None
    assert await node.draw(new_spec(image="no-such")) is None


async def test_a_drawn_member_that_nobody_claims_is_ended(folder: Path, new_spec: NewSpec) -> None:
    async with pooling(folder, replace(POOL, hold_s=0.05)) as node:
        await ready_to_pool(node, new_spec())
        await filled(node, new_spec())
        spec = await drawn(node, new_spec())
        await until(lambda: spec.id not in folders(folder))
        await node.forget((await begun(node, spec)).id)  # who comes too late has a machine of its own


async def test_a_member_whose_machine_ends_is_removed(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    lost = sorted(waiting(node))[0]
    state.crash(folder / "instances" / lost)
    await until(lambda: lost not in folders(folder))


async def test_a_drawn_member_whose_machine_ends_is_booted(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    spec = await drawn(node, new_spec())
    state.crash(folder / "instances" / spec.id)
    await begun(node, spec)
    assert phases(await node.await_ready(spec.id, 5, no_phase))[0] == "firmware"


@pytest.mark.parametrize("told", ["1.0\nins_other\nother\n\n", "\n\n"], ids=["by another", "nonsense"])
async def test_a_guest_that_does_not_adopt_is_booted(folder: Path, new_spec: NewSpec, told: str) -> None:
    async with pooling(folder) as node:
        await ready_to_pool(node, new_spec())
        await filled(node, new_spec())
        spec = await drawn(node, new_spec())
        place = folder / "instances" / spec.id
        machine = state.load(place)
        assert machine is not None
        (place / machine.files / "run/insula/adoption").write_bytes(bytes(64) + told.encode())
        await begun(node, spec)
        assert phases(await node.await_ready(spec.id, 5, no_phase))[0] == "firmware"


async def test_one_that_is_plugged_in_elsewhere_leads_to_a_boot(node: Node, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    spec = await drawn(node, new_spec())
    await connect(node, spec)  # control has given it another place than the node had chosen
    await begun(node, spec)
    assert phases(await node.await_ready(spec.id, 5, no_phase))[0] == "firmware"


async def test_an_instance_that_gives_up_before_its_start_leaves_nothing(
    node: Node, folder: Path, new_spec: NewSpec
) -> None:
    await filled(node, new_spec())
    spec = await drawn(node, new_spec())
    await node.configure(spec)
    await node.make_disk(spec)
    for _ in range(2):
        await node.remove_disk(spec.id)
    assert not is_running(folder, spec.id)
    for _ in range(2):
        await node.forget(spec.id)
    assert spec.id not in folders(folder)


async def test_a_network_that_goes_takes_its_members_along(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    await node.remove_space(SPACE)
    await until(lambda: folders(folder) == frozenset())
    await asyncio.sleep(_LONG_ENOUGH_S)
    assert folders(folder) == frozenset()


async def test_an_image_that_is_deleted_takes_its_members_along(node: Node, folder: Path, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    await node.delete_image("tiny")
    assert folders(folder) == frozenset()


async def test_an_instance_that_needs_the_memory_comes_first(
    node: Node, new_spec: NewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(node, new_spec())
    monkeypatch.setattr("insula.node.agent.pool.available_memory_mib", lambda: 100)
    await begun(node, new_spec(name="other", resources=Resources(1, 256, 2, 100)))
    assert waiting(node) == frozenset()


async def test_a_shape_that_cannot_have_one_is_given_up(folder: Path, new_spec: NewSpec) -> None:
    starts: list[str] = []

    def faults(spec: MachineSpec) -> Faults:
        if spec.name == "member":
            starts.append(spec.id)
            return Faults(broken_program="renew")
        return Faults()

    async with pooling(folder, driver=FakeDriver(faults=faults)) as node:
        await ready_to_pool(node, new_spec())
        await open_network(node)
        assert await node.draw(new_spec()) is None
        await until(lambda: bool(starts))
        await asyncio.sleep(_LONG_ENOUGH_S)
        assert len(starts) == 1
        assert folders(folder) == frozenset()


async def test_a_service_that_stops_leaves_none(folder: Path, new_spec: NewSpec) -> None:
    async with pooling(folder) as node:
        await ready_to_pool(node, new_spec())
        await filled(node, new_spec())
        spec = await drawn(node, new_spec())
        await node.configure(spec)
    assert folders(folder) == {spec.id}
    assert not is_running(folder, spec.id)


@pytest.mark.parametrize("at", ["waiting", "drawn", "configured", "disk"])
async def test_a_killed_service_leaves_nothing_but_what_was_claimed(folder: Path, new_spec: NewSpec, at: str) -> None:
    killed = folder / "killed"
    async with pooling(folder) as node:
        await ready_to_pool(node, new_spec())
        await filled(node, new_spec())
        spec = new_spec(ssh_keys=("key 1",))
        if at != "waiting":
            spec = await drawn(node, spec)
        if at in {"configured", "disk"}:
            await node.configure(spec)
        if at == "disk":
            await node.make_disk(spec)
        shutil.copytree(folder / "instances", killed, ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(folder / "instances")
    killed.rename(folder / "instances")
    async with make_node(folder) as node:
        assert folders(folder) == ({spec.id} if at in {"configured", "disk"} else frozenset())
        assert not is_running(folder, spec.id)
        await begun(node, spec)  # the operation goes on
        assert phases(await node.await_ready(spec.id, 5, no_phase))[0] in {"firmware", "renew"}
        assert json.loads((folder / "instances" / spec.id / "seed.iso").read_bytes()) == {"hostname": spec.hostname}
        assert (await node.observe())[0].power is Power.ON


async def test_whoever_draws_at_once_gets_different_ones(node: Node, new_spec: NewSpec) -> None:
    await filled(node, new_spec())
    found = await asyncio.gather(*(node.draw(new_spec(id=new_id(Kind.INSTANCE))) for _ in range(5)))
    ids = [each.id for each in found if each is not None]
    assert len(ids) == len(set(ids)) == 2


@pytest.mark.parametrize("left", [(), (".spec.json.5d41402a.tmp",), ("disk.qcow2",)])
async def test_a_folder_without_a_record_goes_if_nothing_is_in_it(folder: Path, left: tuple[str, ...]) -> None:
    """What a service leaves that is killed when it has made a member's folder, or is about to remove it."""
    place = folder / "instances" / new_id(Kind.INSTANCE)
    place.mkdir(parents=True)
    for name in left:
        (place / name).touch()
    async with pooling(folder):
        assert folders(folder) == ({place.name} if "disk.qcow2" in left else frozenset())

"""Forks as operations: what becomes of children, and of those who interfere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.base.errors import CapacityExceeded, Conflict
from insula.control.nodes import Nodes
from insula.control.reconcile import Reconciler
from insula.control.scheduler import HostPolicy, Scheduler
from insula.control.store import Acceptance
from insula.domain.fork import child_names, children_of
from insula.domain.instance import Identity, InstanceState, PortForward, Resources
from insula.domain.operation import Operation, OperationState, Verb
from insula.node.agent import Node
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.protocol.node import Power
from tests.operations.control import Control, make_instance, make_operation, open_control
from tests.operations.sabotage import Mode, Saboteur, world


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


def break_renewal(control: Control, names: frozenset[str]) -> None:
    """The guests of these children do not become themselves."""

    def faults(spec: MachineSpec) -> Faults:
        return Faults(broken_program="renew" if spec.name in names else "")

    driver = control.node._parts.driver
    assert isinstance(driver, FakeDriver)
    driver.faults = faults


async def states(control: Control) -> dict[str, InstanceState]:
    return {record.name: record.state for record in await control.store.instances.all()}


async def test_children_have_what_is_the_parents_and_what_is_their_own(control: Control) -> None:
    parent = await control.create()
    ended = await control.do(Verb.FORK_INSTANCE, parent)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.result is not None
    assert [child["name"] for child in ended.result["children"]] == ["web1-1", "web1-2"]
    assert ended.result["failed"] == []
    for name in ("web1-1", "web1-2"):
        child = await control.store.instances.get("default", name)
        assert (child.image, child.resources, child.hostname) == (parent.image, parent.resources, name)
        assert child.mac != parent.mac
        assert child.ssh_port not in (None, parent.ssh_port)
        assert (child.state, child.user_data) == (InstanceState.RUNNING, "")
        assert [phase.name for phase in child.boot_phases] == ["renew", "ready"]


async def test_a_child_with_the_same_identity_has_no_forwards(control: Control) -> None:
    parent = await control.create()
    ended = await control.do(Verb.FORK_INSTANCE, parent, identity="keep", names=["twin"])
    assert ended.state is OperationState.SUCCEEDED, ended.error
    child = await control.store.instances.get("default", "twin")
    assert child.forwards == ()
    assert [phase.name for phase in child.boot_phases] == ["wake", "ready"]


async def test_a_paused_parent_stays_paused(control: Control) -> None:
    parent = await control.create()
    await control.do(Verb.PAUSE_INSTANCE, parent)
    assert (await control.do(Verb.FORK_INSTANCE, parent)).state is OperationState.SUCCEEDED
    found = await states(control)
    assert found == {"web1": InstanceState.PAUSED, "web1-1": InstanceState.RUNNING, "web1-2": InstanceState.RUNNING}


async def test_one_child_that_fails_is_removed_and_told_of(control: Control) -> None:
    parent = await control.create()
    break_renewal(control, frozenset({"web1-2"}))
    ended = await control.do(Verb.FORK_INSTANCE, parent)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert ended.result is not None
    assert [child["name"] for child in ended.result["children"]] == ["web1-1"]
    (failed,) = ended.result["failed"]
    assert (failed["name"], failed["error"]["code"]) == ("web1-2", "renew-failed")
    assert set(await states(control)) == {"web1", "web1-1"}
    reports = {report.id for report in await control.node.observe()}
    assert reports == {record.id for record in await control.store.instances.all()}


async def test_when_all_fail_it_failed_and_can_be_retried(control: Control, folder: Path) -> None:
    parent = await control.create()
    before = await world(control, folder)
    break_renewal(control, frozenset({"web1-1", "web1-2"}))
    ended = await control.do(Verb.FORK_INSTANCE, parent, identity="renew")
    assert ended.state is OperationState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "renew-failed"
    assert await world(control, folder) == before
    break_renewal(control, frozenset())
    again = await control.wait(await control.engine.retry("default", ended.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert set(await states(control)) == {"web1", "web1-1", "web1-2"}


async def working_on(control: Control, saboteur: Saboteur) -> Operation:
    """A fork whose children are there and that has not ended."""
    parent = await control.create()
    saboteur.aim(Verb.FORK_INSTANCE, "children", Mode.HANG_AFTER)
    operation = await control.accept(Verb.FORK_INSTANCE, parent)
    await asyncio.wait_for(saboteur.reached.wait(), 10)
    return operation


async def test_children_are_busy_until_the_fork_has_ended(control: Control, saboteur: Saboteur) -> None:
    operation = await working_on(control, saboteur)
    child = await control.store.instances.get("default", "web1-1")
    with pytest.raises(Conflict) as caught:
        await control.accept(Verb.DELETE_INSTANCE, child)
    assert caught.value.code == "operation-in-progress"
    await Reconciler(control.store, Nodes({"local": control.node})).look("local")
    assert (await states(control))["web1-1"] is InstanceState.CREATING
    await control.engine.cancel("default", operation.id)
    assert (await control.wait(operation)).state is OperationState.CANCELLED
    assert set(await states(control)) == {"web1"}


async def test_a_child_is_an_instance_like_any_other(control: Control) -> None:
    parent = await control.create()
    await control.do(Verb.FORK_INSTANCE, parent)
    child = await control.store.instances.get("default", "web1-1")
    for verb in (Verb.STOP_INSTANCE, Verb.START_INSTANCE, Verb.HIBERNATE_INSTANCE, Verb.START_INSTANCE):
        assert (await control.do(verb, child, graceful_s=5)).state is OperationState.SUCCEEDED
    names = ["grandchild"]
    assert (await control.do(Verb.FORK_INSTANCE, child, names=names)).state is OperationState.SUCCEEDED
    assert (await control.do(Verb.REBUILD_INSTANCE, child, image="tiny")).state is OperationState.SUCCEEDED
    for name in ("web1", "web1-1", "web1-2", "grandchild"):
        await control.do(Verb.DELETE_INSTANCE, await control.store.instances.get("default", name))
    assert list(control.node._layers._folder.iterdir()) == []


async def test_there_is_room_for_all_children_or_for_none(control: Control, node: Node) -> None:
    parent = await control.create()
    report = await node.describe()
    policy = HostPolicy(reserve_memory_mib=report.memory_mib - 300, overcommit_vcpu=1000, overcommit_disk=1000)
    place = await Scheduler(control.store, Nodes({"local": node}), policy).placer(parent.resources, "local")
    children = children_of(parent, ["one", "two"], Identity.RENEW)
    operation = make_operation(Verb.FORK_INSTANCE, parent, {"identity": "renew"})
    wanted = Acceptance(operation, transition=InstanceState.FORKING, place=place, children=children)
    with pytest.raises(CapacityExceeded):
        await control.store.accept(wanted)
    assert await states(control) == {"web1": InstanceState.RUNNING}


async def test_an_instance_that_is_off_cannot_be_forked(control: Control) -> None:
    parent = await control.create()
    await control.do(Verb.STOP_INSTANCE, parent, graceful_s=5)
    with pytest.raises(Conflict, match="cannot be forked"):
        await control.accept(Verb.FORK_INSTANCE, parent)


async def test_the_fork_points_memory_that_stays_does_no_harm(control: Control, saboteur: Saboteur) -> None:
    parent = await control.create()
    saboteur.aim(Verb.FORK_INSTANCE, "let go", Mode.FAIL_BEFORE)
    ended = await control.do(Verb.FORK_INSTANCE, parent)
    assert ended.state is OperationState.FAILED
    assert set((await states(control)).values()) == {InstanceState.RUNNING}
    reports = await control.node.observe()
    assert {report.power for report in reports} == {Power.ON}


def test_names_are_the_lowest_that_are_free() -> None:
    assert child_names("web1", 3, {"web1", "web1-2"}) == ("web1-1", "web1-3", "web1-4")
    assert child_names("a", 1, set()) == ("a-1",)


def test_ports_of_children_are_chosen_anew() -> None:
    parent = make_instance(forwards=(PortForward(80, 8080),), resources=Resources(1, 128, 2, 25))
    (child,) = children_of(parent, ["one"], Identity.RENEW)
    assert child.forwards == (PortForward(80, 0),)

"""Every operation fails at every step, before and after the step's effect, and is cancelled there: the world is as
before. And every step runs twice with the same result as once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from insula.control.nodes import Nodes
from insula.control.operations.tables import TABLES
from insula.control.reconcile import Reconciler
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import Operation, OperationState, StepState, Verb
from insula.node.agent import Node
from tests.operations.control import BEFOREHAND, PATIENCE_S, Control, check_left, make_instance, open_control
from tests.operations.sabotage import Mode, Saboteur, world

# Where the nature of the thing forbids an undo; each has a test of its own below.
NO_WAY_BACK = {
    (Verb.STOP_INSTANCE, "stop", Mode.FAIL_AFTER),
    (Verb.STOP_INSTANCE, "stop", Mode.HANG_AFTER),
    (Verb.REBOOT_INSTANCE, "ready", Mode.FAIL_BEFORE),
    (Verb.REBOOT_INSTANCE, "ready", Mode.FAIL_AFTER),
}
FINAL = {(table.verb, step.name) for table in TABLES.values() for step in table.steps if step.final}
CASES = [
    (verb, step.name, mode)
    for verb, table in TABLES.items()
    if verb.endswith("_instance")
    for step in table.steps
    for mode in (Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER)
    if (verb, step.name) not in FINAL and (verb, step.name, mode) not in NO_WAY_BACK
]
VERBS = sorted({verb for verb, _, _ in CASES})


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


def params_of(verb: Verb, instance: Instance) -> dict[str, Any]:
    if verb is Verb.RESIZE_INSTANCE:
        return {"resources": asdict(replace(instance.resources, memory_mib=512)), "plan": "entry-1", "graceful_s": 5}
    if verb is Verb.REBUILD_INSTANCE:
        return {"image": "debian-12", "graceful_s": 5}
    if verb is Verb.REVERT_INSTANCE:
        return {"snapshot_id": instance.snapshot_id}
    return {"graceful_s": 5}


async def prepare(control: Control, verb: Verb) -> Instance:
    """The instance to work on: a new one for a create, a stopped or paused one to go on, else a running one."""
    if verb is Verb.CREATE_INSTANCE:
        return make_instance()
    instance = await control.create()
    if verb in BEFOREHAND:
        await control.do(BEFOREHAND[verb], instance)
    if verb is Verb.REVERT_INSTANCE:
        await control.create_snapshot(instance)
    return await control.store.instances.get("default", "web1")


@pytest.mark.parametrize("verb", VERBS)
async def test_failing_at_every_step(control: Control, saboteur: Saboteur, folder: Path, verb: Verb) -> None:
    instance = await prepare(control, verb)
    for step, mode in [(step, mode) for of, step, mode in CASES if of is verb]:
        before = await world(control, folder)
        saboteur.aim(verb, step, mode)
        operation = await control.accept(verb, instance, **params_of(verb, instance))
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        ended = await control.wait(operation)
        check_end(ended, step, mode)
        assert await world(control, folder) == before, f"{verb} {mode} at {step}"
    saboteur.aim(None, "", Mode.TWICE)
    last = await control.do(verb, instance, **params_of(verb, instance))
    assert last.state is OperationState.SUCCEEDED, last.error


def check_end(ended: Operation, step: str, mode: Mode) -> None:
    assert ended.error is not None
    if mode is Mode.HANG_AFTER:
        assert ended.state is OperationState.CANCELLED
        assert ended.error["kind"] == "Cancelled"
    else:
        assert ended.state is OperationState.FAILED
        assert ended.error["what"] == "sabotage"
    states = {report.name: report.state for report in ended.steps}
    assert states[step] in {StepState.FAILED, StepState.UNDONE}
    assert StepState.RUNNING not in states.values()


@pytest.mark.parametrize("verb", [verb for verb in TABLES if verb.endswith("_instance")])
async def test_every_step_twice(control: Control, saboteur: Saboteur, folder: Path, verb: Verb) -> None:
    instance = await prepare(control, verb)
    saboteur.aim(verb, "", Mode.TWICE)
    ended = await control.do(verb, instance, **params_of(verb, instance))
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await world(control, folder)
    if verb is Verb.DELETE_INSTANCE:
        assert found == {"instances": [], "ports": [], "files": {}, "machines": {}}
        return
    check_left(found, verb, instance)


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER])
async def test_a_wake_that_fails_loses_no_memory(
    control: Control, saboteur: Saboteur, folder: Path, mode: Mode
) -> None:
    instance = await control.create()
    await control.do(Verb.HIBERNATE_INSTANCE, instance)
    before = await world(control, folder)
    saboteur.aim(Verb.START_INSTANCE, "boot", mode)
    operation = await control.accept(Verb.START_INSTANCE, instance)
    if mode is Mode.HANG_AFTER:
        async with asyncio.timeout(PATIENCE_S):
            await saboteur.reached.wait()
        await control.engine.cancel("default", operation.id)
    check_end(await control.wait(operation), "boot", mode)
    assert await world(control, folder) == before
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.do(Verb.START_INSTANCE, instance)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await control.store.instances.get("default", "web1")
    assert [phase.name for phase in found.boot_phases] == ["wake", "ready"]


async def test_a_cold_start_that_fails_leaves_it_stopped(control: Control, saboteur: Saboteur) -> None:
    instance = await control.create()
    await control.do(Verb.HIBERNATE_INSTANCE, instance)
    saboteur.aim(Verb.START_INSTANCE, "boot", Mode.FAIL_AFTER)
    ended = await control.do(Verb.START_INSTANCE, instance, cold=True)
    assert ended.state is OperationState.FAILED
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.STOPPED


async def test_a_stop_that_was_cut_off_is_observed(control: Control, saboteur: Saboteur, folder: Path) -> None:
    instance = await control.create()
    saboteur.aim(Verb.STOP_INSTANCE, "stop", Mode.FAIL_AFTER)
    ended = await control.do(Verb.STOP_INSTANCE, instance, graceful_s=5)
    assert ended.state is OperationState.FAILED
    await Reconciler(control.store, Nodes({"local": control.node})).look("local")
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.STOPPED


async def test_a_guest_that_does_not_come_back_is_failed(control: Control, saboteur: Saboteur) -> None:
    instance = await control.create()
    saboteur.aim(Verb.REBOOT_INSTANCE, "ready", Mode.FAIL_BEFORE)
    ended = await control.do(Verb.REBOOT_INSTANCE, instance, graceful_s=5)
    assert ended.state is OperationState.FAILED
    found = await control.store.instances.get("default", "web1")
    assert found.state is InstanceState.FAILED
    assert "sabotage" in found.problem


async def test_a_delete_that_fails_can_be_repeated(control: Control, saboteur: Saboteur, folder: Path) -> None:
    instance = await control.create()
    for mode in (Mode.FAIL_BEFORE, Mode.FAIL_AFTER):
        saboteur.aim(Verb.DELETE_INSTANCE, "forget", mode)
        ended = await control.do(Verb.DELETE_INSTANCE, instance)
        assert ended.state is OperationState.FAILED
        assert (await control.store.instances.get("default", "web1")).state is InstanceState.FAILED
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.engine.retry("default", ended.id, "local:test")
    assert again.retry_of == ended.id
    assert (await control.wait(again)).state is OperationState.SUCCEEDED
    assert await world(control, folder) == {"instances": [], "ports": [], "files": {}, "machines": {}}


async def test_an_old_disk_that_stays_does_not_undo_a_rebuild(control: Control, saboteur: Saboteur) -> None:
    instance = await control.create()
    saboteur.aim(Verb.REBUILD_INSTANCE, "drop old disk", Mode.FAIL_BEFORE)
    ended = await control.do(Verb.REBUILD_INSTANCE, instance, image="debian-12")
    assert ended.state is OperationState.FAILED
    found = await control.store.instances.get("default", "web1")
    assert (found.state, found.image) == (InstanceState.RUNNING, "debian-12")
    assert "sabotage" in found.problem


async def test_a_disk_that_grew_stays_grown(control: Control, saboteur: Saboteur) -> None:
    instance = await control.create()
    saboteur.aim(Verb.RESIZE_INSTANCE, "boot", Mode.FAIL_AFTER)
    bigger = replace(instance.resources, memory_mib=512, disk_gib=8)
    ended = await control.do(Verb.RESIZE_INSTANCE, instance, resources=asdict(bigger))
    assert ended.state is OperationState.FAILED
    found = await control.store.instances.get("default", "web1")
    assert found.resources == replace(instance.resources, disk_gib=8)
    assert found.state is InstanceState.RUNNING


async def test_an_undo_that_keeps_failing_is_stuck_and_can_be_deleted(
    control: Control, saboteur: Saboteur, folder: Path
) -> None:
    instance = make_instance()
    saboteur.aim(Verb.CREATE_INSTANCE, "boot", Mode.FAIL_AFTER)
    saboteur.undo_fails = True
    ended = await control.do(Verb.CREATE_INSTANCE, instance)
    assert ended.state is OperationState.STUCK
    assert ended.error is not None
    assert ended.error["what"] == "sabotage"
    assert "Undoing step boot failed too" in ended.error["why"]
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.FAILED
    saboteur.undo_fails = False
    saboteur.aim(None, "", Mode.TWICE)
    deleted = await control.do(Verb.DELETE_INSTANCE, instance)
    assert deleted.state is OperationState.SUCCEEDED, deleted.error
    assert await world(control, folder) == {"instances": [], "ports": [], "files": {}, "machines": {}}

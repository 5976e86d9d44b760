"""Every operation on volumes fails at every step, before and after its effect, and is cancelled there: the world is as
before. Every step runs twice, and the service is killed after each; it comes to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from insula.control.operations.tables import TABLES
from insula.domain.operation import OperationState, Verb
from insula.domain.volume import Volume, VolumeState
from insula.node.agent import Node
from tests.operations.control import PATIENCE_S, Control, make_node, make_volume, open_control
from tests.operations.sabotage import Mode, Saboteur, world
from tests.operations.test_failures import check_end
from tests.operations.test_kill import kill_at_each
from tests.operations.victim import Fate, fated_tables

FINAL = {(table.verb, step.name) for table in TABLES.values() for step in table.steps if step.final}
VERBS = [verb for verb in Verb if verb.noun == "volume"]
# A volume that has grown stays so, though its record does not say it; growing it again goes on.
NO_WAY_BACK = {(Verb.GROW_VOLUME, mode) for mode in (Mode.FAIL_AFTER, Mode.HANG_AFTER)}
CASES = [
    (verb, step.name, mode)
    for verb in VERBS
    for step in TABLES[verb].steps
    for mode in (Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER)
    if (verb, step.name) not in FINAL and (verb, mode) not in NO_WAY_BACK
]

# The step at which a verb fails, so that it is undone.
UNDONE = {
    Verb.CREATE_VOLUME: "attach",
    Verb.ATTACH_VOLUME: "attach",
    Verb.DETACH_VOLUME: "detach",
    Verb.LIMIT_VOLUME: "limit",
}


@dataclass(frozen=True)
class Subject:
    """What an operation is asked, and the state in which it leaves the volume; None when that goes."""

    volume: Volume
    wish: dict[str, Any]
    leaves: VolumeState | None


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def prepare(control: Control, verb: Verb) -> Subject:
    """Two instances, and a volume that the first one has, unless it is to be deleted or made."""
    one, two = await control.create("web1"), await control.create("web2")
    if verb is Verb.CREATE_VOLUME:
        return Subject(make_volume(instance_id=one.id), {}, VolumeState.ATTACHED)
    volume = await control.create_volume(to="" if verb is Verb.DELETE_VOLUME else one.id)
    wishes: dict[Verb, tuple[dict[str, Any], VolumeState | None]] = {
        Verb.ATTACH_VOLUME: ({"to": two.id, "moves": True}, VolumeState.ATTACHED),
        Verb.DETACH_VOLUME: ({}, VolumeState.AVAILABLE),
        Verb.GROW_VOLUME: ({"size_gib": 9}, VolumeState.ATTACHED),
        Verb.LIMIT_VOLUME: ({"disk_iops": 100, "disk_mbps": 1}, VolumeState.ATTACHED),
        Verb.DELETE_VOLUME: ({}, None),
    }
    return Subject(volume, *wishes[verb])


async def check_left(control: Control, subject: Subject) -> None:
    states = [record.state for record in await control.store.volumes.all()]
    assert states == ([] if subject.leaves is None else [subject.leaves])
    held = {
        keeper.record.spec.name: [each.id for each in keeper.record.volumes]
        for keeper in control.node._keepers.values()
        if keeper.record.volumes
    }
    if subject.leaves is not VolumeState.ATTACHED:
        assert held == {}
        return
    goal = "web2" if subject.wish.get("moves") else "web1"
    assert held == {goal: [subject.volume.id]}


@pytest.mark.parametrize("verb", sorted({verb for verb, _, _ in CASES}))
async def test_failing_at_every_step(control: Control, saboteur: Saboteur, folder: Path, verb: Verb) -> None:
    subject = await prepare(control, verb)
    for step, mode in [(step, mode) for of, step, mode in CASES if of is verb]:
        before = await world(control, folder)
        saboteur.aim(verb, step, mode)
        operation = await control.accept_volume(verb, subject.volume, **subject.wish)
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        ended = await control.wait(operation)
        check_end(ended, step, mode)
        assert await world(control, folder) == before, f"{verb} {mode} at {step}"
    saboteur.aim(None, "", Mode.TWICE)
    last = await control.do_volume(verb, subject.volume, **subject.wish)
    assert last.state is OperationState.SUCCEEDED, last.error
    await check_left(control, subject)


@pytest.mark.parametrize("verb", VERBS)
async def test_every_step_twice(control: Control, saboteur: Saboteur, verb: Verb) -> None:
    subject = await prepare(control, verb)
    saboteur.aim(verb, "", Mode.TWICE)
    ended = await control.do_volume(verb, subject.volume, **subject.wish)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    await check_left(control, subject)


async def test_what_has_grown_is_grown_again(control: Control, saboteur: Saboteur) -> None:
    subject = await prepare(control, Verb.GROW_VOLUME)
    saboteur.aim(Verb.GROW_VOLUME, "grow", Mode.FAIL_AFTER)
    failed = await control.do_volume(Verb.GROW_VOLUME, subject.volume, **subject.wish)
    assert failed.state is OperationState.FAILED
    found = await control.store.volumes.get("default", "data")
    assert (found.state, found.size_gib) == (VolumeState.ATTACHED, 3)
    saboteur.aim(None, "", Mode.TWICE)
    less = await control.do_volume(Verb.GROW_VOLUME, subject.volume, size_gib=5)
    assert less.error is not None
    assert (less.error["code"], "It has 9 GiB" in less.error["why"]) == ("disk-shrink", True)
    again = await control.wait(await control.engine.retry("default", failed.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert (await control.store.volumes.get("default", "data")).size_gib == 9


async def test_a_delete_that_fails_can_be_repeated(control: Control, saboteur: Saboteur) -> None:
    subject = await prepare(control, Verb.DELETE_VOLUME)
    saboteur.aim(Verb.DELETE_VOLUME, "remove", Mode.FAIL_AFTER)
    failed = await control.do_volume(Verb.DELETE_VOLUME, subject.volume)
    assert failed.state is OperationState.FAILED
    found = await control.store.volumes.get("default", "data")
    assert found.state is VolumeState.FAILED
    assert "sabotage" in found.problem
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.do_volume(Verb.DELETE_VOLUME, subject.volume)
    assert again.state is OperationState.SUCCEEDED, again.error
    await check_left(control, subject)


async def test_what_is_stuck_half_way_is_detached_from_where_it_is(control: Control, saboteur: Saboteur) -> None:
    subject = await prepare(control, Verb.ATTACH_VOLUME)
    saboteur.aim(Verb.ATTACH_VOLUME, "detach from the other", Mode.FAIL_BEFORE)
    saboteur.undo_fails = True
    stuck = await control.do_volume(Verb.ATTACH_VOLUME, subject.volume, **subject.wish)
    assert stuck.state is OperationState.STUCK
    assert (await control.store.volumes.get("default", "data")).state is VolumeState.FAILED
    saboteur.undo_fails = False
    saboteur.aim(None, "", Mode.TWICE)
    detached = await control.do_volume(Verb.DETACH_VOLUME, subject.volume)
    assert detached.state is OperationState.SUCCEEDED, detached.error
    assert [keeper.record.volumes for keeper in control.node._keepers.values()] == [(), ()]


@pytest.mark.thorough
@pytest.mark.parametrize("verb", VERBS)
async def test_killed_at_every_step_it_goes_on(database_url: str, folder: Path, verb: Verb) -> None:
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        subject = await prepare(control, verb)
    fates = [Fate(verb, step.name) for step in TABLES[verb].steps]
    await kill_at_each(database_url, folder, fates, subject.volume, subject.wish)
    async with make_node(folder) as node, open_control(database_url, node) as control:
        ended = await control.wait((await control.store.operations.list("default"))[0])
        assert ended.state is OperationState.SUCCEEDED, ended.error
        await check_left(control, subject)
        instances = {record.id for record in await control.store.instances.all()}
        volumes = {record.id for record in await control.store.volumes.all()}
        assert await node.leftovers(frozenset(instances | volumes), remove=False) == []


@pytest.mark.thorough
@pytest.mark.parametrize("verb", UNDONE)
async def test_killed_at_every_undo_it_undoes_the_rest(database_url: str, folder: Path, verb: Verb) -> None:
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        subject = await prepare(control, verb)
        before = await world(control, folder)
    undoable = [step.name for step in reversed(TABLES[verb].steps) if step.undo is not None]
    fates = [Fate(verb, name, in_undo=True, fail_at=UNDONE[verb]) for name in undoable]
    await kill_at_each(database_url, folder, fates, subject.volume, subject.wish)
    tables = fated_tables(Fate(verb, "", fail_at=UNDONE[verb]))
    async with make_node(folder) as node, open_control(database_url, node, tables=tables) as control:
        ended = await control.wait((await control.store.operations.list("default"))[0])
        assert ended.state is OperationState.FAILED
        assert ended.error is not None
        assert ended.error["what"] == "sabotage"
        assert await world(control, folder) == before


@pytest.mark.thorough
@pytest.mark.parametrize("verb", [Verb.DELETE_INSTANCE, Verb.REBUILD_INSTANCE, Verb.HIBERNATE_INSTANCE])
async def test_an_instance_that_has_one_is_killed_at_every_step(database_url: str, folder: Path, verb: Verb) -> None:
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        one = await control.create()
        volume = await control.create_volume(to=one.id)
    await kill_at_each(database_url, folder, [Fate(verb, step.name) for step in TABLES[verb].steps], one, {})
    async with make_node(folder) as node, open_control(database_url, node) as control:
        ended = await control.wait((await control.store.operations.list("default"))[0])
        assert ended.state is OperationState.SUCCEEDED, ended.error
        left = await control.store.volumes.get("default", "data")
        if verb is not Verb.DELETE_INSTANCE:
            assert (left.state, left.instance_id) == (VolumeState.ATTACHED, one.id)
            assert node._keeper(one.id).record.volume(volume.id) is not None
            return
        assert (left.state, left.instance_id) == (VolumeState.AVAILABLE, None)
        two = await control.create("web2")
        moved = await control.do_volume(Verb.ATTACH_VOLUME, volume, to=two.id)
        assert moved.state is OperationState.SUCCEEDED, moved.error

"""Every operation on snapshots fails at every step, before and after its effect, and is cancelled there: the world is
as before. Every step runs twice, and the service is killed after each; it comes to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.control.operations.tables import TABLES
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import OperationState, Verb
from insula.domain.snapshot import Consistency, Snapshot, SnapshotKind, SnapshotState
from insula.node.agent import Node
from tests.operations.control import PATIENCE_S, Control, make_instance, make_node, make_snapshot, open_control
from tests.operations.sabotage import Mode, Saboteur, world
from tests.operations.test_failures import check_end
from tests.operations.test_kill import all_ids, kill_at_each
from tests.operations.victim import Fate

VERBS = [verb for verb in Verb if verb.noun == "snapshot"]
MODES = (Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER)


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def end_of(control: Control, saboteur: Saboteur, snapshot: Snapshot, mode: Mode) -> None:
    """A creation that goes wrong."""
    saboteur.aim(Verb.CREATE_SNAPSHOT, "take", mode)
    operation = await control.accept_snapshot(Verb.CREATE_SNAPSHOT, snapshot)
    if mode is Mode.HANG_AFTER:
        async with asyncio.timeout(PATIENCE_S):
            await saboteur.reached.wait()
        await control.engine.cancel("default", operation.id)
    check_end(await control.wait(operation), "take", mode)


@pytest.mark.parametrize("kind", SnapshotKind)
async def test_a_creation_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, kind: SnapshotKind
) -> None:
    host = await control.create()
    for mode in MODES:
        before = await world(control, folder)
        await end_of(control, saboteur, make_snapshot(host, kind=kind), mode)
        assert await world(control, folder) == before, mode
    saboteur.aim(None, "", Mode.TWICE)
    made = await control.create_snapshot(host, kind=kind)
    assert (made.state, made.consistency) == (
        SnapshotState.AVAILABLE,
        Consistency.FILESYSTEM if kind is SnapshotKind.DISK else Consistency.CRASH,
    )
    await control.do(Verb.DELETE_INSTANCE, host)
    await control.do_snapshot(Verb.DELETE_SNAPSHOT, made)
    assert await world(control, folder) == {"instances": [], "ports": [], "files": {}, "machines": {}}
    assert list((folder / "forks").iterdir()) == []


@pytest.mark.parametrize("kind", SnapshotKind)
async def test_every_step_twice(control: Control, saboteur: Saboteur, kind: SnapshotKind) -> None:
    host = await control.create()
    for verb in VERBS:
        saboteur.aim(verb, "", Mode.TWICE)
        if verb is Verb.CREATE_SNAPSHOT:
            made = await control.create_snapshot(host, kind=kind)
        else:
            ended = await control.do_snapshot(verb, made)
            assert ended.state is OperationState.SUCCEEDED, ended.error
    assert await control.store.snapshots.all() == []
    assert (await control.store.instances.get("default", "web1")).snapshot_id is None


async def test_a_delete_that_fails_can_be_repeated(control: Control, saboteur: Saboteur) -> None:
    made = await control.create_snapshot(await control.create())
    for mode in (Mode.FAIL_BEFORE, Mode.FAIL_AFTER):
        saboteur.aim(Verb.DELETE_SNAPSHOT, "remove", mode)
        failed = await control.do_snapshot(Verb.DELETE_SNAPSHOT, made)
        assert failed.state is OperationState.FAILED
        found = await control.store.snapshots.get("default", "first")
        assert found.state is SnapshotState.FAILED
        assert "sabotage" in found.problem
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.wait(await control.engine.retry("default", failed.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert await control.store.snapshots.all() == []


async def test_a_creation_that_failed_is_retried(control: Control, saboteur: Saboteur) -> None:
    host = await control.create()
    saboteur.aim(Verb.CREATE_SNAPSHOT, "take", Mode.FAIL_AFTER)
    failed = await control.do_snapshot(Verb.CREATE_SNAPSHOT, make_snapshot(host))
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.wait(await control.engine.retry("default", failed.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert (await control.store.snapshots.get("default", "first")).state is SnapshotState.AVAILABLE


@pytest.mark.parametrize("mode", MODES)
async def test_a_launch_from_memory_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, mode: Mode
) -> None:
    host = await control.create()
    made = await control.create_snapshot(host, kind=SnapshotKind.MEMORY)
    before = await world(control, folder)
    wish = {"snapshot_id": made.id, "with_memory": True}
    for step in ("disk", "boot"):
        saboteur.aim(Verb.CREATE_INSTANCE, step, mode)
        operation = await control.accept(Verb.CREATE_INSTANCE, make_instance("web2"), **wish)
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        check_end(await control.wait(operation), step, mode)
        assert await world(control, folder) == before, step
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.do(Verb.CREATE_INSTANCE, make_instance("web2"), **wish)
    assert ended.state is OperationState.SUCCEEDED, ended.error


@pytest.mark.parametrize("mode", MODES)
async def test_a_revert_to_memory_that_fails_brings_back_what_was(
    control: Control, saboteur: Saboteur, folder: Path, mode: Mode
) -> None:
    host = await control.create()
    made = await control.create_snapshot(host, kind=SnapshotKind.MEMORY)
    before = await world(control, folder)
    wish = {"snapshot_id": made.id, "with_memory": True}
    for step in ("check", "stop", "set disk aside", "configure", "disk", "boot"):
        saboteur.aim(Verb.REVERT_INSTANCE, step, mode)
        operation = await control.accept(Verb.REVERT_INSTANCE, host, **wish)
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        check_end(await control.wait(operation), step, mode)
        assert await world(control, folder) == before, step
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.do(Verb.REVERT_INSTANCE, host, **wish)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    found = await control.store.instances.get("default", "web1")
    assert [phase.name for phase in found.boot_phases] == ["wake", "ready"]


async def killed(url: str, folder: Path, verb: Verb, target: Instance | Snapshot, **params: object) -> None:
    fates = [Fate(verb, step.name) for step in TABLES[verb].steps]
    await kill_at_each(url, folder, fates, target, dict(params))
    async with make_node(folder) as node, open_control(url, node) as control:
        ended = await control.wait((await control.store.operations.list("default"))[0])
        assert ended.state is OperationState.SUCCEEDED, ended.error
        assert await node.leftovers(await all_ids(control), remove=False) == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SnapshotKind)
async def test_killed_at_every_step_it_goes_on(database_url: str, folder: Path, kind: SnapshotKind) -> None:
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        host = await control.create()
    await killed(database_url, folder, Verb.CREATE_SNAPSHOT, made := make_snapshot(host, kind=kind))
    with_memory = kind is SnapshotKind.MEMORY
    await killed(database_url, folder, Verb.REVERT_INSTANCE, host, snapshot_id=made.id, with_memory=with_memory)
    await killed(
        database_url,
        folder,
        Verb.CREATE_INSTANCE,
        make_instance("web2"),
        snapshot_id=made.id,
        with_memory=with_memory,
    )
    await killed(database_url, folder, Verb.DELETE_SNAPSHOT, made)
    async with make_node(folder) as node, open_control(database_url, node) as control:
        states = {record.name: record.state for record in await control.store.instances.all()}
        assert states == {"web1": InstanceState.RUNNING, "web2": InstanceState.RUNNING}
        assert list((folder / "snapshots").iterdir()) == []

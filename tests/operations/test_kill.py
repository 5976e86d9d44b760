"""The service is killed with -9 at every step of every operation, forward and backward; the next one goes on."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from insula.control.operations.tables import TABLES
from insula.domain.instance import Instance
from insula.domain.operation import Operation, OperationState, Verb
from tests.operations import victim
from tests.operations.control import BEFOREHAND, Control, Target, check_left, make_instance, make_node, open_control
from tests.operations.sabotage import world
from tests.operations.victim import Fate, fated_tables

pytestmark = pytest.mark.thorough
VERBS = [verb for verb in TABLES if verb.endswith("_instance")]
# The step at which a verb fails, so that it is undone.
UNDONE = {
    Verb.CREATE_INSTANCE: "boot",
    Verb.RESIZE_INSTANCE: "boot",
    Verb.REBUILD_INSTANCE: "boot",
    Verb.PAUSE_INSTANCE: "pause",
    Verb.HIBERNATE_INSTANCE: "hibernate",
    Verb.FORK_INSTANCE: "children",
    Verb.REVERT_INSTANCE: "boot",
}
DEATH_S = 60.0
# All are forked from one process that has imported what they need, which takes longer than most of them live.
VICTIMS = multiprocessing.get_context("forkserver")
VICTIMS.set_forkserver_preload(["tests.operations.victim"])


async def die(url: str, folder: Path, fate: Fate, target: Target | None, params: dict[str, Any]) -> None:
    """Run a service until its fate has killed it."""
    order: dict[str, Any] = {"url": url, "folder": str(folder), "fate": asdict(fate), "params": params}
    order["target"] = msgspec.to_builtins(target) if target else None
    with tempfile.NamedTemporaryFile("r") as said:
        process = VICTIMS.Process(target=victim.main, args=(said.name, json.dumps(order)))
        process.start()
        await asyncio.to_thread(process.join, DEATH_S)
        code = process.exitcode
        process.kill()  # one that hangs
        assert code == -signal.SIGKILL, said.read()


async def prepare(url: str, folder: Path, verb: Verb) -> tuple[Instance, dict[str, Any], dict[str, Any]]:
    """The instance to work on, the world, and what the operation is asked."""
    async with make_node(folder) as node, open_control(url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        if verb is Verb.CREATE_INSTANCE:
            return make_instance(), await world(control, folder), {}
        instance = await control.create()
        if verb in BEFOREHAND:
            await control.do(BEFOREHAND[verb], instance)
        if verb is Verb.REVERT_INSTANCE:
            await control.create_snapshot(instance)
        instance = await control.store.instances.get("default", "web1")
        return instance, await world(control, folder), params_of(verb, instance)


def params_of(verb: Verb, instance: Instance) -> dict[str, Any]:
    if verb is Verb.RESIZE_INSTANCE:
        return {"resources": asdict(replace(instance.resources, memory_mib=512)), "plan": "entry-1"}
    if verb is Verb.REVERT_INSTANCE:
        return {"snapshot_id": instance.snapshot_id}
    return {"image": "debian-12"} if verb is Verb.REBUILD_INSTANCE else {}


async def settle(control: Control) -> Operation:
    """The end of the operation that was killed so often."""
    newest = (await control.store.operations.list("default"))[0]
    return await control.wait(newest)


async def all_ids(control: Control) -> frozenset[str]:
    """Everything that there is a record of."""
    store = control.store
    instances = {record.id for record in await store.instances.all()}
    volumes = {record.id for record in await store.volumes.all()}
    snapshots = {record.id for record in await store.snapshots.all()}
    backups = {record.id for record in await store.backups.all()}
    return frozenset(instances | volumes | snapshots | backups)


async def kill_at_each(url: str, folder: Path, fates: Sequence[Fate], target: Target, params: dict[str, Any]) -> None:
    first: Target | None = target
    for fate in fates:
        await die(url, folder, fate, first, params)
        first = None


@pytest.mark.parametrize("verb", VERBS)
async def test_killed_at_every_step_it_goes_on(database_url: str, folder: Path, verb: Verb) -> None:
    instance, _, params = await prepare(database_url, folder, verb)
    fates = [Fate(verb, step.name) for step in TABLES[verb].steps]
    await kill_at_each(database_url, folder, fates, instance, params)
    async with make_node(folder) as node, open_control(database_url, node) as control:
        ended = await settle(control)
        assert ended.state is OperationState.SUCCEEDED, ended.error
        found = await world(control, folder)
        known = await all_ids(control)
        assert await node.leftovers(known, remove=False) == []
        events = await control.events(ended)
        assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    if verb is Verb.DELETE_INSTANCE:
        assert found == {"instances": [], "ports": [], "files": {}, "machines": {}}
        return
    check_left(found, verb, instance)


async def test_killed_while_it_wakes_it_goes_on_where_it_was(database_url: str, folder: Path) -> None:
    instance, _, _ = await prepare(database_url, folder, Verb.HIBERNATE_INSTANCE)
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await control.do(Verb.HIBERNATE_INSTANCE, instance)
        instance = await control.store.instances.get("default", "web1")
    fates = [Fate(Verb.START_INSTANCE, step.name) for step in TABLES[Verb.START_INSTANCE].steps]
    await kill_at_each(database_url, folder, fates, instance, {})
    async with make_node(folder) as node, open_control(database_url, node) as control:
        assert (await settle(control)).state is OperationState.SUCCEEDED
        found = await control.store.instances.get("default", "web1")
        assert [phase.name for phase in found.boot_phases] == ["wake", "ready"]
        assert "memory" not in {name.rpartition("/")[2] for name in (await world(control, folder))["files"]}


@pytest.mark.parametrize("die_at", ["", *(step.name for step in TABLES[Verb.CREATE_INSTANCE].steps)])
async def test_killed_after_it_drew_from_the_pool_it_goes_on(database_url: str, folder: Path, die_at: str) -> None:
    instance, _, _ = await prepare(database_url, folder, Verb.CREATE_INSTANCE)
    fate = Fate(Verb.CREATE_INSTANCE, die_at, in_pool=True)
    await die(database_url, folder, fate, instance, {})
    async with make_node(folder) as node, open_control(database_url, node) as control:
        if die_at:
            assert (await settle(control)).state is OperationState.SUCCEEDED
            made = await control.store.instances.get("default", "web1")
            guest = await node.execute(made.id, ["hostname"], b"", 5)
            assert guest.stdout.decode().strip() == made.hostname
        records = [record.id for record in await control.store.instances.all()]
        assert [each.name for each in (folder / "instances").iterdir()] == records, "members are gone"
        assert await node.leftovers(frozenset(records), remove=False) == []


@pytest.mark.parametrize("die_at", ["", "configure", "disk"])
async def test_killed_while_it_gives_a_member_up_it_leaves_nothing(
    database_url: str, folder: Path, die_at: str
) -> None:
    instance, before, _ = await prepare(database_url, folder, Verb.CREATE_INSTANCE)
    fate = Fate(Verb.CREATE_INSTANCE, die_at, in_undo=True, fail_at="disk", in_pool=True)
    await die(database_url, folder, fate, instance, {})
    tables = fated_tables(Fate(Verb.CREATE_INSTANCE, "", fail_at="disk"))
    async with make_node(folder) as node, open_control(database_url, node, tables=tables) as control:
        if die_at:
            assert (await settle(control)).state is OperationState.FAILED
        assert await world(control, folder) == before


@pytest.mark.parametrize("verb", UNDONE)
async def test_killed_at_every_undo_it_undoes_the_rest(database_url: str, folder: Path, verb: Verb) -> None:
    instance, before, params = await prepare(database_url, folder, verb)
    undoable = [step.name for step in reversed(TABLES[verb].steps) if step.undo is not None]
    fates = [Fate(verb, name, in_undo=True, fail_at=UNDONE[verb]) for name in undoable]
    await kill_at_each(database_url, folder, fates, instance, params)
    tables = fated_tables(Fate(verb, "", fail_at=UNDONE[verb]))
    async with make_node(folder) as node, open_control(database_url, node, tables=tables) as control:
        ended = await settle(control)
        assert ended.state is OperationState.FAILED
        assert ended.error is not None
        assert ended.error["what"] == "sabotage"
        assert await world(control, folder) == before

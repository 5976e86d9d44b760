"""Every operation on backups and stores fails at every step, before and after its effect, and is cancelled there: the
world is as before. Every step runs twice, and the service is killed after each; it comes to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.control.operations.tables import TABLES
from insula.domain.backup import Backup, BackupState, BackupStore
from insula.domain.instance import Instance
from insula.domain.operation import OperationState, Verb
from insula.node.agent import Node
from tests.operations.control import (
    PATIENCE_S,
    Control,
    Target,
    make_backup,
    make_instance,
    make_node,
    make_volume,
    open_control,
)
from tests.operations.sabotage import Mode, Saboteur, world
from tests.operations.test_failures import check_end
from tests.operations.test_kill import all_ids, kill_at_each
from tests.operations.victim import Fate

MODES = (Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER)


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def goes_wrong(control: Control, saboteur: Saboteur, verb: Verb, target: Backup, fault: tuple[Mode, str]) -> None:
    mode, step = fault
    saboteur.aim(verb, step, mode)
    operation = await control.accept_backup(verb, target)
    if mode is Mode.HANG_AFTER:
        async with asyncio.timeout(PATIENCE_S):
            await saboteur.reached.wait()
        await control.engine.cancel("default", operation.id)
    check_end(await control.wait(operation), step, mode)


async def test_a_creation_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, tmp_path: Path
) -> None:
    host = await control.create()
    place = await control.open_store(tmp_path / "store")
    for mode in MODES:
        before = await world(control, folder)
        await goes_wrong(control, saboteur, Verb.CREATE_BACKUP, make_backup(host, place), (mode, "make"))
        assert await world(control, folder) == before, mode
        assert await control.node.stored_backups(place.id) == []
    saboteur.aim(None, "", Mode.TWICE)
    made = await control.create_backup(host, place)
    assert (made.state, made.consistency) == (BackupState.AVAILABLE, "filesystem")
    assert made.size_bytes > 0
    await control.do(Verb.DELETE_INSTANCE, host)
    assert (await control.store.backups.get("default", "first")).instance_id == host.id
    ended = await control.do_backup(Verb.DELETE_BACKUP, made)
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert await world(control, folder) == {"instances": [], "ports": [], "files": {}, "machines": {}}


async def test_a_creation_whose_store_is_away_leaves_nothing(control: Control, folder: Path, tmp_path: Path) -> None:
    host = await control.create()
    place = await control.open_store(tmp_path / "store")
    before = await world(control, folder)
    (tmp_path / "store").rename(tmp_path / "away")
    ended = await control.do_backup(Verb.CREATE_BACKUP, make_backup(host, place))
    assert ended.state is OperationState.FAILED
    assert await world(control, folder) == before
    (tmp_path / "away").rename(tmp_path / "store")
    again = await control.wait(await control.engine.retry("default", ended.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error


async def test_every_step_twice(control: Control, saboteur: Saboteur, tmp_path: Path) -> None:
    host = await control.create()
    place = await control.open_store(tmp_path / "store")
    saboteur.aim(Verb.CREATE_BACKUP, "", Mode.TWICE)
    made = await control.create_backup(host, place)
    for verb, target in (
        (Verb.DRILL_BACKUP, made),
        (Verb.CHECK_STORE, place),
        (Verb.DELETE_BACKUP, made),
        (Verb.PRUNE_STORE, place),
        (Verb.REPAIR_STORE, place),
    ):
        saboteur.aim(verb, "", Mode.TWICE)
        ended = await control.do_backup(verb, target)
        assert ended.state is OperationState.SUCCEEDED, ended.error
        if verb is Verb.DRILL_BACKUP:
            assert (ended.result or {})["passed"], ended.result
    assert await control.store.backups.all() == []
    assert (await control.store.backup_stores.all())[0].pruned_at is not None


async def test_a_delete_that_fails_can_be_repeated(control: Control, saboteur: Saboteur, tmp_path: Path) -> None:
    made = await control.create_backup(await control.create(), await control.open_store(tmp_path / "store"))
    for mode in (Mode.FAIL_BEFORE, Mode.FAIL_AFTER):
        saboteur.aim(Verb.DELETE_BACKUP, "remove", mode)
        failed = await control.do_backup(Verb.DELETE_BACKUP, made)
        assert failed.state is OperationState.FAILED
        assert (await control.store.backups.get("default", "first")).state is BackupState.FAILED
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.wait(await control.engine.retry("default", failed.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert await control.store.backups.all() == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_drill_leaves_nothing_wherever_it_fails(
    control: Control, saboteur: Saboteur, folder: Path, tmp_path: Path, mode: Mode
) -> None:
    made = await control.create_backup(await control.create(), await control.open_store(tmp_path / "store"))
    before = await world(control, folder)
    for step in ("restore", "boot", "remove"):
        await goes_wrong(control, saboteur, Verb.DRILL_BACKUP, made, (mode, step))
        assert await world(control, folder) == before, step
    if mode is Mode.HANG_AFTER:
        return  # the last step cannot be cancelled: it is over by then
    saboteur.aim(Verb.DRILL_BACKUP, "note", mode)
    ended = await control.do_backup(Verb.DRILL_BACKUP, made)
    assert ended.state is OperationState.FAILED
    (drill,) = (await control.store.backups.get("default", "first")).drills
    assert drill.passed
    found = await world(control, folder)
    assert found["machines"] == before["machines"]


async def test_a_restore_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, tmp_path: Path
) -> None:
    made = await control.create_backup(await control.create(), await control.open_store(tmp_path / "store"))
    for step in ("image", "configure", "disk", "boot"):
        before = await world(control, folder)
        for mode in MODES:
            saboteur.aim(Verb.CREATE_INSTANCE, step, mode)
            operation = await control.accept(Verb.CREATE_INSTANCE, make_instance("web2"), backup_id=made.id)
            if mode is Mode.HANG_AFTER:
                async with asyncio.timeout(PATIENCE_S):
                    await saboteur.reached.wait()
                await control.engine.cancel("default", operation.id)
            check_end(await control.wait(operation), step, mode)
            assert await world(control, folder) == before, step
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.wait(await control.engine.retry("default", operation.id, "local:test"))
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert (await control.store.instances.get("default", "web2")).boot_phases


async def test_a_volume_from_a_backup_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, tmp_path: Path
) -> None:
    made = await control.create_backup(await control.create(), await control.open_store(tmp_path / "store"))
    before = await world(control, folder)
    for mode in MODES:
        saboteur.aim(Verb.CREATE_VOLUME, "make", mode)
        operation = await control.accept_volume(Verb.CREATE_VOLUME, make_volume(), backup_id=made.id)
        if mode is Mode.HANG_AFTER:
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
            await control.engine.cancel("default", operation.id)
        check_end(await control.wait(operation), "make", mode)
        assert await world(control, folder) == before, mode
    saboteur.aim(None, "", Mode.TWICE)
    ended = await control.wait(await control.engine.retry("default", operation.id, "local:test"))
    assert ended.state is OperationState.SUCCEEDED, ended.error


async def killed(url: str, folder: Path, verb: Verb, target: Target, **params: object) -> None:
    fates = [Fate(verb, step.name) for step in TABLES[verb].steps]
    await kill_at_each(url, folder, fates, target, dict(params))
    async with make_node(folder) as node, open_control(url, node) as control:
        ended = await control.wait((await control.store.operations.list("default"))[0])
        assert ended.state is OperationState.SUCCEEDED, ended.error
        assert await node.leftovers(await all_ids(control), remove=False) == []


@pytest.mark.thorough
async def test_killed_at_every_step_it_goes_on(database_url: str, folder: Path, tmp_path: Path) -> None:
    async with make_node(folder) as node, open_control(database_url, node) as control:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        host: Instance = await control.create()
        place: BackupStore = await control.open_store(tmp_path / "store")
    made = make_backup(host, place)
    await killed(database_url, folder, Verb.CREATE_BACKUP, made)
    await killed(database_url, folder, Verb.DRILL_BACKUP, made)
    await killed(database_url, folder, Verb.CREATE_INSTANCE, make_instance("web2"), backup_id=made.id)
    await killed(database_url, folder, Verb.CREATE_VOLUME, make_volume(), backup_id=made.id)
    await killed(database_url, folder, Verb.CHECK_STORE, place)
    await killed(database_url, folder, Verb.DELETE_BACKUP, made)
    await killed(database_url, folder, Verb.PRUNE_STORE, replace(place))
    await killed(database_url, folder, Verb.REPAIR_STORE, replace(place))
    async with make_node(folder) as node, open_control(database_url, node) as control:
        assert {record.name for record in await control.store.instances.all()} == {"web1", "web2"}
        assert await control.store.backups.all() == []
        assert (await node.check_store(place.id, True)).is_whole

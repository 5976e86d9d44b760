"""Backups and drills by schedule: when they are due, once, again after a failure; and what is deleted afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.control.reconcile import Timekeeper, timekeeper
from insula.domain.backup import Backup, BackupState, BackupStore
from insula.domain.instance import Instance
from insula.domain.operation import Verb
from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every
from tests.operations.control import Control, make_backup


class Clock:
    """The timekeeper's: people set it."""

    def __init__(self) -> None:
        self.now = now_utc()

    def __call__(self) -> object:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timekeeper, "now_utc", made)
    return made


@pytest.fixture
async def place(control: Control, tmp_path: Path) -> BackupStore:
    return await control.open_store(tmp_path / "store")


@pytest.fixture
async def host(control: Control) -> Instance:
    return await control.create()


@pytest.fixture
def keeper(control: Control) -> Timekeeper:
    return Timekeeper(control.store, control.engine, control.scheduler)


async def scheduled(control: Control, host: Instance, place: BackupStore, clock: Clock, **fields: object) -> None:
    made = BackupSchedule(
        *(host.id, "default", place.id, Every.DAILY, 180, Keep(), None),
        created_at=clock.now,
        updated_at=clock.now,
        next_at=clock.now + timedelta(minutes=1),
    )
    await control.store.backup_schedules.set(replace(made, **fields))  # type: ignore[arg-type]  # any field


async def of(control: Control, host: Instance) -> BackupSchedule:
    found = await control.store.backup_schedules.find(host.id)
    assert found is not None
    return found


async def looked(control: Control, keeper: Timekeeper) -> list[Backup]:
    """Look, wait for what it asked for, and look again."""
    await keeper.look()
    for operation in await control.store.operations.active():
        await control.wait(operation)
    await keeper.look()
    return list(await control.store.backups.all())


async def test_what_was_missed_is_made_up_once(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await scheduled(control, host, place, clock)
    assert await looked(control, keeper) == []
    clock.pass_by(days=5)
    (made,) = await looked(control, keeper)
    assert (made.state, made.scheduled, made.instance_id) == (BackupState.AVAILABLE, True, host.id)
    assert len(await looked(control, keeper)) == 1
    schedule = await of(control, host)
    assert clock.now < schedule.next_at <= clock.now + timedelta(days=1)
    assert (schedule.failures, schedule.problem, schedule.last_at) == (0, "", clock.now)
    entry = (await control.store.audit.newest("default"))[0]
    assert (entry.subject, entry.action, entry.target) == ("system:schedule", "backups.create", made.id)


async def test_two_at_once_never(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await scheduled(control, host, place, clock)
    clock.pass_by(days=1)
    for _ in range(3):
        await keeper.look()
    verbs = [operation.verb for operation in await control.store.operations.list("default")]
    assert verbs.count(Verb.CREATE_BACKUP) == 1


async def test_a_failure_is_told_and_tried_again(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await scheduled(control, host, place, clock)
    there = Path(place.place.path)
    there.rename(away := there.with_name("away"))
    clock.pass_by(minutes=2)
    assert await looked(control, keeper) == []
    schedule = await of(control, host)
    assert schedule.failures == 1
    assert "is not there" in schedule.problem
    assert await looked(control, keeper) == []
    assert (await of(control, host)).failures == 1, "not at once"
    away.rename(there)
    clock.pass_by(minutes=6)
    assert len(await looked(control, keeper)) == 1
    schedule = await of(control, host)
    assert (schedule.failures, schedule.problem) == (0, "")


async def test_what_cannot_be_backed_up_is_told(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await scheduled(control, host, place, clock)
    await control.do(Verb.HIBERNATE_INSTANCE, host)
    clock.pass_by(minutes=2)
    assert await looked(control, keeper) == []
    assert "hibernated" in (await of(control, host)).problem


async def test_only_what_need_not_be_kept_is_deleted(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    by_hand = await control.create_backup(host, place, "by-hand")
    await scheduled(control, host, place, clock, keep=Keep(daily=2))
    clock.pass_by(minutes=2)
    names = []
    for number in range(4):
        made = (await looked(control, keeper))[-1]
        names.append(made.name)
        if number == 0:
            await control.store.backups.change("default", made.id, protected=True)
        clock.pass_by(days=1)
    names.append((await looked(control, keeper))[-1].name)
    left = {each.name for each in await looked(control, keeper)}
    assert left == {by_hand.name, names[0], names[3], names[4]}
    assert (await control.node.check_store(place.id, False)).is_whole


async def test_a_prune_follows_once_a_day(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    made = await control.create_backup(host, place)
    await looked(control, keeper)
    await control.do_backup(Verb.DELETE_BACKUP, made)
    for _ in range(2):
        await looked(control, keeper)
    pruned = [each for each in await control.store.operations.list("default") if each.verb is Verb.PRUNE_STORE]
    assert len(pruned) == 1


async def test_the_newest_is_tried_by_schedule(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await control.create_backup(host, place)
    newest = await control.create_backup(host, place, "second")
    await scheduled(
        control, host, place, clock, drill=Every.WEEKLY, drill_at=clock.now, next_at=clock.now.replace(year=2100)
    )
    await looked(control, keeper)
    (drill,) = (await control.store.backups.get("default", newest.name)).drills
    assert drill.passed
    assert [each.name for each in await control.store.instances.all()] == ["web1"]
    assert len(await control.node.observe()) == 1
    schedule = await of(control, host)
    assert schedule.drill_at is not None
    assert schedule.drill_at > clock.now
    assert schedule.drill_problem == ""


async def test_it_ends_with_its_instance(
    control: Control, keeper: Timekeeper, host: Instance, place: BackupStore, clock: Clock
) -> None:
    await scheduled(control, host, place, clock)
    made = make_backup(host, place)
    await control.do_backup(Verb.CREATE_BACKUP, made)
    await control.do(Verb.DELETE_INSTANCE, host)
    assert await control.store.backup_schedules.all() == []
    clock.pass_by(days=2)
    assert [each.id for each in await looked(control, keeper)] == [made.id]

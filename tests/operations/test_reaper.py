"""Leases: who does not renew theirs loses the instance, and nobody else does, whatever the clocks say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.base.errors import Conflict, HostFailure, InsulaError, Unavailable
from insula.control.operations.engine.table import Step, Table, Tables, Work
from insula.control.operations.tables import TABLES
from insula.control.reconcile import Reaper, reaper
from insula.control.store import Acceptance, AuditLine
from insula.domain.instance import Instance, InstanceState, lease_end
from insula.domain.operation import Operation, OperationState, Verb
from insula.node.agent import Node
from tests.operations.control import Control, make_instance, make_operation, open_control

LINE = AuditLine("local:test", "default", "instances.lease", "web1", "given", "req-1")


class Clocks:
    """The reaper's: one that only passes, one that people set."""

    def __init__(self) -> None:
        self.passed_s = 1000.0
        self.set_by_s = 0.0

    def monotonic_s(self) -> float:
        return self.passed_s

    def now_utc(self) -> datetime:
        return now_utc() + timedelta(seconds=self.passed_s - 1000.0 + self.set_by_s)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(reaper, "monotonic_s", made.monotonic_s)
    monkeypatch.setattr(reaper, "now_utc", made.now_utc)
    return made


async def leased(control: Control, lease_s: int = 100, name: str = "web1") -> Instance:
    instance = make_instance(name, lease_s=lease_s, lease_until=lease_end(lease_s))
    assert (await control.do(Verb.CREATE_INSTANCE, instance)).error is None
    return await control.store.instances.get("default", name)


async def deletions(control: Control) -> Sequence[Operation]:
    return [each for each in await control.store.operations.list("default") if each.verb is Verb.DELETE_INSTANCE]


async def looked(control: Control, clocks: Clocks, seconds: float, by: Reaper) -> int:
    """Let time pass, looking every second; the number of deletions so far, all of them over."""
    for _ in range(int(seconds)):
        clocks.passed_s += 1
        await by.look()
    found = await deletions(control)
    for each in found:
        await control.wait(each)
    return len(found)


@pytest.fixture
async def busy_reaper(control: Control, clocks: Clocks) -> Reaper:
    """One that has looked before, so that no grace is left."""
    made = Reaper(control.store, control.engine)
    await made.look()
    return made


async def test_it_is_deleted_when_its_lease_ends_and_not_before(
    control: Control, clocks: Clocks, busy_reaper: Reaper
) -> None:
    kept = await control.create("kept")
    instance = await leased(control)
    assert await looked(control, clocks, 99, busy_reaper) == 0
    assert await looked(control, clocks, 2, busy_reaper) == 1
    assert [each.id for each in await control.store.instances.all()] == [kept.id]
    assert (await deletions(control))[0].requested_by == "system:lease"
    entry = (await control.store.audit.newest("default"))[0]
    assert (entry.subject, entry.action, entry.target) == ("system:lease", "instances.delete", instance.id)
    assert entry.outcome.startswith("accepted: op_")


async def test_a_renewed_lease_begins_anew_and_one_taken_off_never_ends(
    control: Control, clocks: Clocks, busy_reaper: Reaper
) -> None:
    instance = await leased(control)
    assert await looked(control, clocks, 90, busy_reaper) == 0
    await control.store.instances.lease("default", instance.id, 100, LINE)
    assert await looked(control, clocks, 99, busy_reaper) == 0
    await control.store.instances.lease("default", instance.id, None, LINE)
    assert await looked(control, clocks, 200, busy_reaper) == 0


@pytest.mark.parametrize("jump_s", [-86400, 86400])
async def test_setting_the_clock_neither_ends_nor_prolongs_a_lease(
    control: Control, clocks: Clocks, busy_reaper: Reaper, jump_s: float
) -> None:
    await leased(control)
    assert await looked(control, clocks, 10, busy_reaper) == 0
    clocks.set_by_s = jump_s
    assert await looked(control, clocks, 89, busy_reaper) == 0
    assert await looked(control, clocks, 2, busy_reaper) == 1


async def test_after_a_start_whoever_is_still_there_can_renew_first(control: Control, clocks: Clocks) -> None:
    await leased(control, 20, "lost")
    held = await leased(control, 20, "held")
    clocks.set_by_s = 3600  # the service was down for an hour
    late = Reaper(control.store, control.engine)
    assert await looked(control, clocks, 60, late) == 0
    await control.store.instances.lease("default", held.id, 20, LINE)
    assert await looked(control, clocks, 2, late) == 1
    assert [each.name for each in await control.store.instances.all()] == ["held"]


async def test_a_start_with_the_clock_set_back_grants_one_lease_more_at_most(control: Control, clocks: Clocks) -> None:
    await leased(control, 100)
    clocks.set_by_s = -86400
    late = Reaper(control.store, control.engine)
    assert await looked(control, clocks, 100, late) == 0
    assert await looked(control, clocks, 3, late) == 1


async def test_a_frozen_host_is_like_a_start(control: Control, clocks: Clocks, busy_reaper: Reaper) -> None:
    await leased(control)
    await busy_reaper.look()
    clocks.passed_s += 3600
    assert await looked(control, clocks, 59, busy_reaper) == 0
    assert await looked(control, clocks, 3, busy_reaper) == 1


async def test_a_lost_database_is_like_a_start(
    control: Control, clocks: Clocks, busy_reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Sequence[Operation]:
        raise Unavailable("The database is away")

    await leased(control)
    await looked(control, clocks, 98, busy_reaper)
    with monkeypatch.context() as broken:
        broken.setattr(control.store.operations, "active", away)
        for _ in range(10):
            with pytest.raises(Unavailable):
                await busy_reaper.look()
            clocks.passed_s += 1
    assert await looked(control, clocks, 59, busy_reaper) == 0
    assert await looked(control, clocks, 3, busy_reaper) == 1


async def test_a_busy_instance_is_deleted_when_it_is_idle(
    control: Control, clocks: Clocks, busy_reaper: Reaper
) -> None:
    instance = await leased(control)
    await busy_reaper.look()
    working = make_operation(Verb.REBOOT_INSTANCE, instance, {"graceful_s": 0})
    await control.store.accept(Acceptance(working, transition=InstanceState.REBOOTING))
    assert await looked(control, clocks, 105, busy_reaper) == 0
    await control.engine.submit(working.id)
    assert (await control.wait(working)).state is OperationState.SUCCEEDED
    assert await looked(control, clocks, 1, busy_reaper) == 1
    assert await control.store.instances.all() == []


def refusing(times: int) -> Tables:
    """The tables with a delete that fails so often."""
    table: Table = TABLES[Verb.DELETE_INSTANCE]
    inner = table.steps[0]
    left = [times]

    async def forget(work: Work) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise HostFailure("The disk does not let go")
        await inner.do(work)

    step = Step(inner.name, forget, no_undo=inner.no_undo, deadline_s=inner.deadline_s, final=True)
    return {**TABLES, Verb.DELETE_INSTANCE: Table(table.verb, (step,), table.succeeded, table.failed)}


async def test_a_deletion_that_fails_is_told_and_tried_again_ever_more_slowly(
    database_url: str, node: Node, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_control(database_url, node, tables=refusing(2)) as control:
        by = Reaper(control.store, control.engine)
        await by.look()
        instance = await leased(control)
        await by.look()
        assert await looked(control, clocks, 100, by) == 1
        found = await control.store.instances.get("default", instance.id)
        assert (found.state, "does not let go" in found.problem) == (InstanceState.FAILED, True)
        assert await looked(control, clocks, 1, by) == 1
        assert await looked(control, clocks, 1, by) == 2
        assert "could not be deleted" in caplog.text
        assert await looked(control, clocks, 3, by) == 2
        assert await looked(control, clocks, 1, by) == 3
        assert await control.store.instances.all() == []


async def renew_after(wait_s: float, control: Control, instance: Instance) -> None:
    await asyncio.sleep(wait_s)
    await control.store.instances.lease("default", instance.id, 10, LINE)


async def test_a_renewal_and_the_end_at_once_exclude_each_other(
    control: Control, clocks: Clocks, busy_reaper: Reaper
) -> None:
    won = {"renewal": 0, "end": 0}
    for number in range(20):
        instance = await leased(control, 10, f"web{number}")
        await looked(control, clocks, 10, busy_reaper)
        clocks.passed_s += 1
        renewal = renew_after(number * 0.0004, control, instance)
        done = await asyncio.gather(renewal, busy_reaper.look(), return_exceptions=True)
        refused = [each for each in done if isinstance(each, InsulaError)]
        accepted = [each for each in await deletions(control) if each.target == instance.id]
        assert len(refused) == len(accepted), "a renewal was granted to what is deleted, or refused to what is not"
        won["end" if accepted else "renewal"] += 1
        for each in accepted:
            await control.wait(each)
        if not accepted:
            await control.do(Verb.DELETE_INSTANCE, instance)
    assert all(won.values()), won


async def test_a_user_who_deletes_at_the_same_moment(control: Control, clocks: Clocks, busy_reaper: Reaper) -> None:
    for number in range(5):
        instance = await leased(control, 10, f"web{number}")
        await looked(control, clocks, 9, busy_reaper)
        clocks.passed_s += 2
        users = control.accept(Verb.DELETE_INSTANCE, instance)
        await asyncio.gather(users, busy_reaper.look(), return_exceptions=True)
        await looked(control, clocks, 3, busy_reaper)
        assert len([each for each in await deletions(control) if each.target == instance.id]) == 1
    assert await control.store.instances.all() == []


async def test_a_deletion_that_was_decided_on_an_old_lease_is_refused(control: Control) -> None:
    instance = await leased(control)
    await control.store.instances.lease("default", instance.id, 200, LINE)
    wanted = Acceptance(
        make_operation(Verb.DELETE_INSTANCE, instance, {}),
        transition=InstanceState.DELETING,
        lease_until=instance.lease_until,
    )
    with pytest.raises(Conflict) as refused:
        await control.store.accept(wanted)
    assert refused.value.code == "lease-renewed"


async def test_it_outlives_restarts_of_the_service(database_url: str, folder: Path, node: Node) -> None:
    async with open_control(database_url, node) as control:
        await leased(control, 10)
    async with open_control(database_url, node) as control:
        by = Reaper(control.store, control.engine, grace_s=0.2)
        await control.store.instances.update((await control.store.instances.all())[0].id, lease_until=now_utc())
        running = asyncio.create_task(by.run())
        async with asyncio.timeout(10):
            while await control.store.instances.all():
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait({running})


async def test_a_create_that_is_retried_has_its_whole_lease(control: Control, clocks: Clocks) -> None:
    past = now_utc() - timedelta(hours=1)
    instance = make_instance(lease_s=100, lease_until=past, image="nix")
    failed = await control.do(Verb.CREATE_INSTANCE, instance)
    assert failed.state is OperationState.FAILED
    again = await control.engine.retry("default", failed.id, "local:test")
    found = await control.store.instances.find(again.target)
    await control.wait(again)
    assert found is not None
    assert found.lease_until is not None
    assert found.lease_until > now_utc() + timedelta(seconds=60)

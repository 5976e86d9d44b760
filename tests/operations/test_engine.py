"""The engine: events, cancelling, exclusion, retries, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.base import clock
from insula.base.errors import Conflict, NotFound
from insula.control.operations.engine import journal
from insula.control.operations.instances import steps
from insula.control.store import completion, instances, operations
from insula.domain.instance import InstanceState
from insula.domain.operation import Operation, OperationState, Verb
from insula.node.agent import Node
from tests.operations.control import PATIENCE_S, Control, make_instance, make_node, open_control
from tests.operations.sabotage import Mode, Saboteur, world


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def test_listeners_get_every_event_once_whenever_they_come(control: Control, saboteur: Saboteur) -> None:
    saboteur.aim(Verb.CREATE_INSTANCE, "disk", Mode.HANG_AFTER)
    operation = await control.accept(Verb.CREATE_INSTANCE, make_instance())

    async def listen(after: int = 0) -> list[int]:
        return [event.sequence async for event in control.engine.subscribe(operation.id, after)]

    early = asyncio.create_task(listen())
    async with asyncio.timeout(PATIENCE_S):
        await saboteur.reached.wait()
        late = asyncio.create_task(listen())
        middle = asyncio.create_task(listen(3))
        await asyncio.sleep(0.1)
        await control.engine.cancel("default", operation.id)
        heard = await early
        assert await late == heard
        assert await middle == [sequence for sequence in heard if sequence > 3]
        assert await listen() == heard
    assert [event.sequence for event in await control.events(operation)] == heard
    assert heard == sorted(set(heard))
    assert await listen(heard[-1]) == []


async def test_an_unknown_operation_has_no_events(control: Control) -> None:
    with pytest.raises(NotFound):
        await anext(control.engine.subscribe("op_none"))


async def test_two_creates_of_one_name_at_once(control: Control) -> None:
    results = await asyncio.gather(
        *(control.accept(Verb.CREATE_INSTANCE, make_instance("web1")) for _ in range(5)), return_exceptions=True
    )
    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert len(accepted) == 1
    assert all(isinstance(result, Conflict) for result in results if isinstance(result, BaseException))
    assert (await control.wait(accepted[0])).state is OperationState.SUCCEEDED
    assert len(await control.node.observe()) == 1


async def test_operations_on_one_instance_never_interleave(control: Control, saboteur: Saboteur) -> None:
    instance = await control.create()
    saboteur.aim(Verb.STOP_INSTANCE, "stop", Mode.HANG_AFTER)
    stop = await control.accept(Verb.STOP_INSTANCE, instance)
    with pytest.raises(Conflict) as refused:
        await control.accept(Verb.DELETE_INSTANCE, instance)
    assert refused.value.code == "operation-in-progress"
    assert stop.id in refused.value.why
    await control.engine.cancel("default", stop.id)
    await control.wait(stop)
    saboteur.aim(None, "", Mode.TWICE)
    assert (await control.do(Verb.DELETE_INSTANCE, instance)).state is OperationState.SUCCEEDED


async def test_a_failed_create_can_be_retried(control: Control, saboteur: Saboteur, folder: Path) -> None:
    saboteur.aim(Verb.CREATE_INSTANCE, "boot", Mode.FAIL_BEFORE)
    failed = await control.do(Verb.CREATE_INSTANCE, make_instance())
    assert failed.state is OperationState.FAILED
    saboteur.aim(None, "", Mode.TWICE)
    again = await control.engine.retry("default", failed.id, "local:test")
    assert again.retry_of == failed.id
    assert (await control.wait(again)).state is OperationState.SUCCEEDED
    found = await control.store.instances.get("default", "web1")
    assert found.id == again.target != failed.target
    with pytest.raises(Conflict) as refused:
        await control.engine.retry("default", again.id, "local:test")
    assert refused.value.code == "not-retryable"


async def test_cancelling_twice_and_too_late(control: Control) -> None:
    instance = make_instance()
    ended = await control.do(Verb.CREATE_INSTANCE, instance)
    assert (await control.engine.cancel("default", ended.id)).state is OperationState.SUCCEEDED
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.RUNNING
    with pytest.raises(NotFound):
        await control.engine.cancel("other", ended.id)


async def test_many_at_once(control: Control) -> None:
    wanted = [make_instance(f"web{number}") for number in range(10)]
    ended = await asyncio.gather(*(control.do(Verb.CREATE_INSTANCE, instance) for instance in wanted))
    assert {operation.state for operation in ended} == {OperationState.SUCCEEDED}
    ports = [instance.ssh_port for instance in await control.store.instances.all()]
    assert len(set(ports)) == 10


async def test_a_clock_that_jumps_changes_nothing(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (journal, steps, completion, instances, operations):
        monkeypatch.setattr(module, "now_utc", lambda: clock.now_utc().replace(year=1999))
    instance = await control.create()
    assert instance.started_at is not None
    assert instance.started_at.year == 1999
    monkeypatch.undo()
    assert (await control.do(Verb.STOP_INSTANCE, instance)).state is OperationState.SUCCEEDED
    assert (await control.do(Verb.DELETE_INSTANCE, instance)).state is OperationState.SUCCEEDED


async def test_a_graceful_end_of_the_service_goes_on_later(database_url: str, folder: Path) -> None:
    saboteur = Saboteur()
    saboteur.aim(Verb.CREATE_INSTANCE, "disk", Mode.HANG_AFTER)
    async with make_node(folder) as node:
        async with open_control(database_url, node, tables=saboteur.tables()) as control:
            operation = await control.accept(Verb.CREATE_INSTANCE, make_instance())
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
        async with open_control(database_url, node) as control:
            assert (await control.wait(operation)).state is OperationState.SUCCEEDED
            assert (await world(control, folder))["machines"] == {operation.target: "on"}


async def test_what_was_accepted_but_never_begun_is_begun(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_node(folder) as node:
        async with open_control(database_url, node) as control:
            monkeypatch.setattr(control.engine, "submit", _lost)  # as if killed between accepting and beginning
            operation = await control.accept(Verb.CREATE_INSTANCE, make_instance())
        async with open_control(database_url, node) as control:
            assert (await control.wait(operation)).state is OperationState.SUCCEEDED


async def test_what_begins_while_the_service_ends_goes_on_later(
    database_url: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No run of operations that are accepted at the very end breaks, or keeps the end from being one."""
    beginning: list[asyncio.Task[Operation]] = []
    async with make_node(folder) as node:
        for number in range(6):
            async with open_control(database_url, node) as control:
                accepting = (control.accept(Verb.CREATE_INSTANCE, make_instance(f"web{number}-{i}")) for i in range(3))
                beginning += [asyncio.create_task(accept) for accept in accepting]
                await asyncio.sleep(0.01 * number)
        await asyncio.gather(*beginning, return_exceptions=True)
        async with open_control(database_url, node) as control:
            for operation in await control.store.operations.active():
                assert (await control.wait(operation)).state is OperationState.SUCCEEDED
        assert "a run broke" not in caplog.text


async def _lost(_operation_id: str) -> None:
    return

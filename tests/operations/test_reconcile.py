"""What happens to instances without an operation shows in their records within a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.control.nodes import Nodes
from insula.control.reconcile import Reconciler
from insula.domain.instance import Instance, InstanceState, RestartPolicy
from insula.domain.operation import Verb
from insula.node.hypervisor.fake.state import crash
from tests.operations.control import Control, make_instance


@pytest.fixture
async def reconciler(control: Control) -> AsyncIterator[Reconciler]:
    made = Reconciler(control.store, Nodes({"local": control.node}))
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(control: Control, state: InstanceState) -> Instance:
    async with asyncio.timeout(5):
        while True:
            found = await control.store.instances.get("default", "web1")
            if found.state is state:
                return found
            await asyncio.sleep(0.02)


async def test_a_crash_is_survived_and_counted(control: Control, reconciler: Reconciler, folder: Path) -> None:
    instance = await control.create()
    crash(folder / "instances" / instance.id)
    async with asyncio.timeout(5):
        while (found := await control.store.instances.get("default", "web1")).restarts == 0:
            await asyncio.sleep(0.02)
    found = await until(control, InstanceState.RUNNING)
    assert found.restarts == 1
    assert found.problem == ""


async def test_a_crash_without_restart_is_a_failure(control: Control, reconciler: Reconciler, folder: Path) -> None:
    instance = make_instance(restart_policy=RestartPolicy.NEVER)
    await control.do(Verb.CREATE_INSTANCE, instance)
    crash(folder / "instances" / instance.id)
    found = await until(control, InstanceState.FAILED)
    assert "crashed" in found.problem


async def test_a_stop_behind_our_back(control: Control, reconciler: Reconciler) -> None:
    instance = await control.create()
    await control.node.stop(instance.id, 5)
    found = await until(control, InstanceState.STOPPED)
    assert found.started_at is None


async def test_files_that_vanished_are_told_not_removed(control: Control, reconciler: Reconciler) -> None:
    instance = await control.create()
    await control.node.forget(instance.id)
    found = await until(control, InstanceState.FAILED)
    assert "no files" in found.problem
    assert (await control.do(Verb.DELETE_INSTANCE, found)).error is None


async def test_a_start_behind_our_back(control: Control, reconciler: Reconciler) -> None:
    instance = await control.create()
    await control.do(Verb.STOP_INSTANCE, instance)
    await control.node.start(instance.id)
    found = await until(control, InstanceState.RUNNING)
    assert found.started_at is not None


async def test_an_old_observation_is_dropped(control: Control) -> None:
    instance = await control.create()
    await control.do(Verb.STOP_INSTANCE, instance)
    assert not await control.store.instances.note(instance, state=InstanceState.RUNNING)
    assert (await control.store.instances.get("default", "web1")).state is InstanceState.STOPPED


async def test_an_unknown_instance_stays(control: Control, reconciler: Reconciler) -> None:
    instance = await control.create()
    await control.do(Verb.STOP_INSTANCE, instance)
    await control.store.instances.delete(instance.id)
    await reconciler.look("local")
    assert [report.id for report in await control.node.observe()] == [instance.id]

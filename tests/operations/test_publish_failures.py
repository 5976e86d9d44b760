"""Publishing fails at every step, before and after its effect, and is cancelled there: the world is as before. Every
step runs twice, and the service is killed after each; it comes to the same end. So does the collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.base.errors import HostFailure
from insula.control.nodes import Nodes
from insula.control.operations.tables import TABLES
from insula.control.reconcile import Collector
from insula.control.store import Acceptance, Publishing
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance
from insula.domain.operation import Operation, OperationState, Verb
from insula.domain.published import PublishedImage, PublishedState
from insula.node.agent import Node
from tests.operations.control import PATIENCE_S, Control, make_instance, make_node, make_operation, open_control
from tests.operations.sabotage import Mode, Saboteur, world
from tests.operations.test_failures import check_end
from tests.operations.victim import Fate, fated_tables

STEPS = [step.name for step in TABLES[Verb.PUBLISH_IMAGE].steps]
MODES = (Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG_AFTER)


@pytest.fixture
def saboteur() -> Saboteur:
    return Saboteur()


@pytest.fixture
async def control(database_url: str, node: Node, saboteur: Saboteur) -> AsyncIterator[Control]:
    async with open_control(database_url, node, tables=saboteur.tables()) as opened:
        yield opened


async def accept(control: Control, host: Instance, snapshot_id: str = "") -> Operation:
    """Publish an instance, or a snapshot of it."""
    now = now_utc()
    new = PublishedImage(
        id=new_id(Kind.IMAGE),
        project="default",
        name="mine",
        version=0,
        state=PublishedState.PUBLISHING,
        node="local",
        base="tiny",
        origin=host.name,
        created_at=now,
        updated_at=now,
    )
    publishing = Publishing(new, snapshot_id or new_id(Kind.SNAPSHOT), "" if snapshot_id else host.id)
    accepted = await control.store.accept(
        Acceptance(make_operation(Verb.PUBLISH_IMAGE, new.id, {}), publishing=publishing)
    )
    await control.engine.submit(accepted.id)
    return accepted


async def images_of(control: Control) -> dict[str, str]:
    """What is recorded, and that the node has the same."""
    recorded = {found.id: found.state.value for found in await control.store.images.all()}
    here = {image.name for image in await control.node.images() if image.name.startswith("img_")}
    assert here == set(recorded)
    return recorded


def drafts(folder: Path) -> list[str]:
    places = ("publishing", "snapshots", "forks")
    return [str(path) for place in places for path in (folder / place).glob("*")]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mode", MODES)
async def test_publishing_that_fails_leaves_nothing(
    control: Control, saboteur: Saboteur, folder: Path, step: str, mode: Mode
) -> None:
    host = await control.create()
    saboteur.aim(Verb.PUBLISH_IMAGE, step, mode)
    operation = await accept(control, host)
    if mode is Mode.HANG_AFTER:
        async with asyncio.timeout(PATIENCE_S):
            await saboteur.reached.wait()
        await control.engine.cancel("default", operation.id)
    check_end(await control.wait(operation), step, mode)
    assert await images_of(control) == {}
    assert [path for path in drafts(folder) if "forks" not in path] == []

    saboteur.aim(None, "", Mode.TWICE)
    again = await control.wait(await control.engine.retry("default", operation.id, "local:test"))
    assert again.state is OperationState.SUCCEEDED, again.error
    assert again.target != operation.target
    assert list((await images_of(control)).values()) == ["available"]


async def test_every_step_twice(control: Control, saboteur: Saboteur, folder: Path) -> None:
    host = await control.create()
    before = await world(control, folder)
    saboteur.aim(Verb.PUBLISH_IMAGE, "", Mode.TWICE)
    ended = await control.wait(await accept(control, host))
    assert ended.state is OperationState.SUCCEEDED, ended.error
    assert await images_of(control) == {ended.target: "available"}
    after = await world(control, folder)
    assert after["machines"] == before["machines"]
    saboteur.aim(Verb.DELETE_IMAGE, "", Mode.TWICE)
    deleted = await control.do(Verb.DELETE_IMAGE, ended.target)
    assert deleted.state is OperationState.SUCCEEDED, deleted.error
    assert await images_of(control) == {}


async def test_the_instance_and_the_snapshot_are_left_alone_meanwhile(control: Control, saboteur: Saboteur) -> None:
    host = await control.create()
    made = await control.create_snapshot(host)
    saboteur.aim(Verb.PUBLISH_IMAGE, "image", Mode.HANG_AFTER)
    of_snapshot = await accept(control, host, made.id)
    with pytest.raises(Exception, match="busy"):
        await control.accept_snapshot(Verb.DELETE_SNAPSHOT, made)
    await control.engine.cancel("default", of_snapshot.id)
    await control.wait(of_snapshot)
    of_instance = await accept(control, host)
    with pytest.raises(Exception, match="busy"):
        await control.accept(Verb.DELETE_INSTANCE, host)
    await control.engine.cancel("default", of_instance.id)
    await control.wait(of_instance)
    assert (await control.store.snapshots.get("default", "first")).state == "available"


async def test_a_deletion_that_fails_is_finished_by_the_collector(control: Control, saboteur: Saboteur) -> None:
    ended = await control.wait(await accept(control, await control.create()))
    saboteur.aim(Verb.DELETE_IMAGE, "delete", Mode.FAIL_BEFORE)
    failed = await control.do(Verb.DELETE_IMAGE, ended.target)
    assert failed.state is OperationState.FAILED
    assert await images_of(control) == {ended.target: "deleted"}
    await Collector(control.store, Nodes({"local": control.node})).look()
    assert await images_of(control) == {}


class _Stubborn:
    """A node whose files cannot be removed yet."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def delete_image(self, name: str) -> None:
        self.asked.append(name)
        raise HostFailure("The disk is read-only")


async def test_what_the_node_cannot_remove_is_asked_for_again(control: Control, saboteur: Saboteur) -> None:
    ended = await control.wait(await accept(control, await control.create()))
    saboteur.aim(Verb.DELETE_IMAGE, "delete", Mode.FAIL_BEFORE)
    await control.do(Verb.DELETE_IMAGE, ended.target)
    stubborn = _Stubborn()
    collector = Collector(control.store, Nodes({"local": stubborn}))  # type: ignore[dict-item]  # all that it asks for
    await collector.look()
    await collector.look()
    assert stubborn.asked == [ended.target] * 2
    assert await images_of(control) == {ended.target: "deleted"}


@pytest.mark.thorough
@pytest.mark.parametrize("step", STEPS)
async def test_cut_off_by_the_services_end_it_goes_on(database_url: str, folder: Path, step: str) -> None:
    async with make_node(folder) as node:
        await node.prepare_image("tiny", lambda _message, _percent=-1: None)
        saboteur = Saboteur()
        saboteur.aim(Verb.PUBLISH_IMAGE, step, Mode.HANG_AFTER)
        async with open_control(database_url, node, tables=saboteur.tables()) as control:
            ended = await control.do(Verb.CREATE_INSTANCE, host := make_instance())
            assert ended.state is OperationState.SUCCEEDED, ended.error
            operation = await accept(control, host)
            async with asyncio.timeout(PATIENCE_S):
                await saboteur.reached.wait()
    # What a kill leaves of the machine and its draft.
    (folder / "publishing" / operation.target).mkdir(parents=True, exist_ok=True)
    tables = fated_tables(Fate(Verb.PUBLISH_IMAGE, ""))
    async with make_node(folder) as node, open_control(database_url, node, tables=tables) as control:
        again = await control.wait(operation)
        assert again.state is OperationState.SUCCEEDED, again.error
        assert await images_of(control) == {operation.target: "available"}
        assert [path for path in drafts(folder) if "forks" not in path] == []

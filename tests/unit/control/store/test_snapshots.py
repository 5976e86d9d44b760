"""Snapshots in the store, and databases from before there were any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store import Acceptance, Completion, SnapshotUse, Store
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import Operation, OperationState, Verb, new_operation
from insula.domain.snapshot import Consistency, Snapshot, SnapshotKind, SnapshotState
from tests.unit.control.store.older import step_back
from tests.unit.control.store.samples import make_instance, make_operation


def make_snapshot(host: Instance, name: str = "first", kind: SnapshotKind = SnapshotKind.DISK) -> Snapshot:
    now = now_utc()
    return Snapshot(
        id=new_id(Kind.SNAPSHOT),
        project="default",
        name=name,
        instance_id=host.id,
        parent_id=None,
        kind=kind,
        state=SnapshotState.CREATING,
        node="",
        created_at=now,
        updated_at=now,
        image="",
        plan="",
        resources=host.resources,
        firmware=host.firmware,
        machine_type=host.machine_type,
        tags=("a",),
    )


def operation_on(verb: Verb, target: Snapshot | Instance) -> Operation:
    return new_operation(verb, (target.id, target.name), project="default", requested_by="local:test")


async def end(store: Store, operation_id: str, target: str, **fields: object) -> None:
    done = Completion(operation_id, OperationState.SUCCEEDED, (), (), target=target, fields=fields)
    assert await store.finish(done)


async def add_instance(store: Store) -> Instance:
    instance = make_instance()
    operation = make_operation(instance)
    await store.accept(Acceptance(operation, instance=instance))
    await end(store, operation.id, instance.id, state=InstanceState.RUNNING)
    return await store.instances.get("default", "web1")


async def add_snapshot(store: Store, host: Instance, name: str) -> Snapshot:
    made = make_snapshot(host, name)
    operation = operation_on(Verb.CREATE_SNAPSHOT, made)
    await store.accept(Acceptance(operation, snapshot=made))
    fields = {"state": SnapshotState.AVAILABLE, "consistency": Consistency.CRASH, "size_bytes": 1 << 40}
    others = {host.id: {"snapshot_id": made.id}}
    done = Completion(operation.id, OperationState.SUCCEEDED, (), (), target=made.id, fields=fields, others=others)
    assert await store.finish(done)
    return await store.snapshots.get("default", name)


async def test_each_goes_on_from_the_last_and_takes_the_place_of_one_that_goes(store: Store) -> None:
    host = await add_instance(store)
    one, two, three = [await add_snapshot(store, host, name) for name in ("one", "two", "three")]
    assert [each.parent_id for each in (one, two, three)] == [None, one.id, two.id]
    assert (one.image, one.plan, one.node, one.size_bytes) == (host.image, host.plan, host.node, 1 << 40)
    assert (await store.instances.get("default", "web1")).snapshot_id == three.id
    for gone in (two, three):
        operation = operation_on(Verb.DELETE_SNAPSHOT, gone)
        await store.accept(Acceptance(operation))
        assert (await store.snapshots.get("default", gone.name)).state is SnapshotState.DELETING
        done = Completion(operation.id, OperationState.SUCCEEDED, (), (), target=gone.id, remove=True)
        assert await store.finish(done)
        with pytest.raises(NotFound):
            await store.snapshots.get("default", gone.name)
        if gone is two:
            assert (await store.snapshots.get("default", "three")).parent_id == one.id
    assert (await store.instances.get("default", "web1")).snapshot_id == one.id


async def test_what_is_worked_on_is_left_alone(store: Store) -> None:
    host = await add_instance(store)
    made = await add_snapshot(store, host, "one")
    creating = operation_on(Verb.CREATE_SNAPSHOT, second := make_snapshot(host, "two"))
    await store.accept(Acceptance(creating, snapshot=second))
    for verb, becomes in (
        (Verb.STOP_INSTANCE, InstanceState.STOPPING),
        (Verb.DELETE_INSTANCE, InstanceState.DELETING),
    ):
        with pytest.raises(Conflict, match="busy"):
            await store.accept(Acceptance(operation_on(verb, host), transition=becomes))
    with pytest.raises(Conflict, match="busy"):
        await store.accept(
            Acceptance(operation_on(Verb.CREATE_SNAPSHOT, third := make_snapshot(host, "x")), snapshot=third)
        )
    await end(store, creating.id, second.id, state=SnapshotState.AVAILABLE)

    reverting = operation_on(Verb.REVERT_INSTANCE, host)
    use = SnapshotUse(made.id, with_memory=False)
    await store.accept(Acceptance(reverting, transition=InstanceState.REVERTING, use=use))
    with pytest.raises(Conflict, match="busy"):
        await store.accept(Acceptance(operation_on(Verb.DELETE_SNAPSHOT, made)))
    await end(store, reverting.id, host.id, state=InstanceState.RUNNING)

    launching = make_operation(other := make_instance("web2"))
    await store.accept(Acceptance(launching, instance=other, use=use))
    with pytest.raises(Conflict, match="busy"):
        await store.accept(Acceptance(operation_on(Verb.DELETE_SNAPSHOT, made)))
    await end(store, launching.id, other.id, state=InstanceState.RUNNING)
    await store.accept(Acceptance(operation_on(Verb.DELETE_SNAPSHOT, made)))
    with pytest.raises(Conflict, match="deleting"):
        await store.accept(Acceptance(make_operation(last := make_instance("web3")), instance=last, use=use))


async def test_memory_is_not_taken_for_granted(store: Store) -> None:
    host = await add_instance(store)
    made = await add_snapshot(store, host, "one")
    use = SnapshotUse(made.id, with_memory=True)
    with pytest.raises(Conflict, match="no memory"):
        await store.accept(
            Acceptance(operation_on(Verb.REVERT_INSTANCE, host), transition=InstanceState.REVERTING, use=use)
        )
    foreign = make_operation(other := replace(make_instance("web2"), project="other"))
    with pytest.raises(NotFound):
        await store.accept(Acceptance(foreign, instance=other, use=use))


async def test_a_database_from_before_snapshots_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "insula.sqlite"
    store = await Store.open(f"sqlite:///{path}")
    kept = await add_instance(store)
    await store.close()
    step_back(path, "0003")
    store = await Store.open(f"sqlite:///{path}")
    assert replace(await store.instances.get("default", "web1"), ports=kept.ports) == kept
    assert await store.snapshots.all() == []
    await add_snapshot(store, kept, "first")
    await store.close()
    store = await Store.open(f"sqlite:///{path}")
    found = await store.snapshots.get("default", "first")
    assert (found.tags, found.consistency, found.kind) == (("a",), Consistency.CRASH, SnapshotKind.DISK)
    await store.close()

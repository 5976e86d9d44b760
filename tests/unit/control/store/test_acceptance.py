"""Accepting operations: all or nothing, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from insula.base.errors import CapacityExceeded, Conflict
from insula.control.store import Acceptance, AuditLine, Store
from insula.domain.capacity import Claim
from insula.domain.instance import InstanceState, PortForward
from insula.domain.operation import OperationState, Verb
from tests.unit.control.store.samples import make_instance, make_operation


async def test_a_create_is_written_whole(store: Store) -> None:
    instance = make_instance()
    operation = make_operation(instance, start=True)
    line = AuditLine("local:test", "default", "instances.create", instance.name, "accepted", "req-1")
    await store.accept(Acceptance(operation, instance=instance, audit=line))
    found = await store.instances.get("default", "web1")
    assert found.id == instance.id
    assert found.ssh_port is not None
    assert found.ssh_port >= 20000
    assert await store.operations.get("default", operation.id) == operation
    assert [entry.action for entry in await store.audit.list("default")] == ["instances.create"]
    assert await store.instances.list("default") == (found,)


async def test_two_creates_of_one_name_at_once(store: Store) -> None:
    instances = [make_instance("web1") for _ in range(8)]
    results = await asyncio.gather(
        *(store.accept(Acceptance(make_operation(i), instance=i)) for i in instances), return_exceptions=True
    )
    refusals = [result for result in results if isinstance(result, Conflict)]
    assert len(refusals) == 7
    assert {refusal.code for refusal in refusals} == {"name-taken"}
    assert len(await store.instances.all()) == 1
    assert len(await store.operations.list("default")) == 1


async def test_the_last_capacity_is_promised_once(store: Store) -> None:
    def place(claims: Sequence[Claim]) -> str:
        if len(claims) >= 3:
            raise CapacityExceeded("full")
        return "local"

    instances = [make_instance(f"web{number}") for number in range(6)]
    results = await asyncio.gather(
        *(store.accept(Acceptance(make_operation(i), instance=i, place=place)) for i in instances),
        return_exceptions=True,
    )
    assert sum(isinstance(result, CapacityExceeded) for result in results) == 3
    assert len(await store.instances.all()) == 3


async def test_one_operation_at_a_time(store: Store) -> None:
    instance = make_instance()
    first = make_operation(instance)
    await store.accept(Acceptance(first, instance=instance))
    stop = make_operation(instance, Verb.STOP_INSTANCE)
    with pytest.raises(Conflict) as refused:
        await store.accept(Acceptance(stop, transition=InstanceState.STOPPING))
    assert refused.value.code == "operation-in-progress"
    await store.operations.record(first.id, (), state=OperationState.SUCCEEDED)
    with pytest.raises(Conflict) as refused:
        await store.accept(Acceptance(stop, transition=InstanceState.STOPPING))
    assert refused.value.code == "wrong-state"
    await store.instances.update(instance.id, state=InstanceState.RUNNING)
    await store.accept(Acceptance(stop, transition=InstanceState.STOPPING))
    assert (await store.instances.get("default", "web1")).state is InstanceState.STOPPING


async def test_protection(store: Store) -> None:
    instance = make_instance(state=InstanceState.RUNNING, protected=True)
    create = make_operation(instance)
    await store.accept(Acceptance(create, instance=instance))
    await store.operations.record(create.id, (), state=OperationState.SUCCEEDED)
    for verb, state in (
        (Verb.DELETE_INSTANCE, InstanceState.DELETING),
        (Verb.REBUILD_INSTANCE, InstanceState.REBUILDING),
    ):
        with pytest.raises(Conflict) as refused:
            await store.accept(Acceptance(make_operation(instance, verb), transition=state))
        assert refused.value.code == "protected"
    assert (await store.instances.get("default", "web1")).state is InstanceState.RUNNING


async def test_a_taken_port_refuses_the_whole_create(store: Store) -> None:
    first = make_instance("one", forwards=(PortForward(80, 8080),))
    await store.accept(Acceptance(make_operation(first), instance=first))
    second = make_instance("two", forwards=(PortForward(22), PortForward(80, 8080)))
    with pytest.raises(Conflict, match="one") as refused:
        await store.accept(Acceptance(make_operation(second), instance=second))
    assert refused.value.code == "port-taken"
    assert [i.name for i in await store.instances.all()] == ["one"]
    await store.instances.delete(first.id)
    await store.accept(Acceptance(make_operation(second), instance=second))


async def test_an_image_in_use_stays(store: Store) -> None:
    instance = make_instance()
    await store.accept(Acceptance(make_operation(instance), instance=instance))
    image = make_operation(make_instance(id="tiny", name="tiny"), Verb.DELETE_IMAGE)
    with pytest.raises(Conflict, match="in use"):
        await store.accept(Acceptance(image, unused_image="tiny"))
    await store.instances.delete(instance.id)
    await store.accept(Acceptance(image, unused_image="tiny"))

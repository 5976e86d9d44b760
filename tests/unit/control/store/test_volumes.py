"""Volumes in the store, and databases from before there were any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from insula.base.clock import now_utc
from insula.control.store import Acceptance, Completion, Store, VolumeChange
from insula.domain.ids import Kind, new_id
from insula.domain.instance import InstanceState
from insula.domain.operation import OperationState, Verb, new_operation
from insula.domain.volume import FileSystem, Volume, VolumeState
from tests.unit.control.store.older import step_back
from tests.unit.control.store.samples import make_instance, make_operation


def make_volume(instance_id: str | None = None) -> Volume:
    now = now_utc()
    return Volume(
        id=new_id(Kind.VOLUME),
        project="default",
        name="data",
        size_gib=3,
        file_system=FileSystem.XFS,
        state=VolumeState.CREATING,
        node="local",
        instance_id=instance_id,
        created_at=now,
        updated_at=now,
        tags=("a",),
    )


async def end(store: Store, operation_id: str, target: str, **fields: object) -> None:
    done = Completion(operation_id, OperationState.SUCCEEDED, (), (), target=target, fields=fields)
    assert await store.finish(done)


async def test_a_database_from_before_volumes_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "insula.sqlite"
    url = f"sqlite:///{path}"
    instance = make_instance()
    operation = make_operation(instance)
    store = await Store.open(url)
    await store.accept(Acceptance(operation, instance=instance))
    await end(store, operation.id, instance.id, state=InstanceState.RUNNING)
    kept = (await store.instances.get("default", "web1"), await store.operations.get("default", operation.id))
    await store.close()
    step_back(path, "0002")
    store = await Store.open(url)
    again = await store.instances.get("default", "web1")
    assert (replace(again, ports=kept[0].ports), await store.operations.get("default", operation.id)) == kept
    assert await store.volumes.all() == []
    made = make_volume(instance.id)
    create = new_operation(Verb.CREATE_VOLUME, (made.id, made.name), project="default", requested_by="local:test")
    await store.accept(Acceptance(create, volume=made))
    await end(store, create.id, made.id, state=VolumeState.ATTACHED)
    await store.close()
    store = await Store.open(url)
    found = await store.volumes.get("default", "data")
    assert (found.state, found.instance_id, found.tags) == (VolumeState.ATTACHED, instance.id, ("a",))
    detach = new_operation(Verb.DETACH_VOLUME, (made.id, made.name), project="default", requested_by="local:test")
    await store.accept(Acceptance(detach, volume_change=VolumeChange(VolumeState.DETACHING)))
    assert (await store.volumes.get("default", "data")).state is VolumeState.DETACHING
    await store.close()

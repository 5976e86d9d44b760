"""What is kept in memory is what the tables hold, whoever wrote to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.sql import visitors

from insula.base.clock import now_utc
from insula.control.store import Store
from insula.control.store.read_model import ReadModel
from insula.control.store.schema import change_counter, volume
from insula.domain.ids import Kind, new_id
from insula.domain.volume import FileSystem, Volume, VolumeState

_COUNTERS = sa.select(change_counter.c.name, change_counter.c.value)


def a_volume() -> Volume:
    now = now_utc()
    return Volume(
        id=new_id(Kind.VOLUME),
        project="default",
        name="data",
        size_gib=3,
        file_system=FileSystem.EXT4,
        state=VolumeState.AVAILABLE,
        node="local",
        instance_id=None,
        created_at=now,
        updated_at=now,
    )


def inserted(new: Volume) -> sa.Insert:
    return volume.insert().values({column.name: getattr(new, column.name) for column in volume.columns})


async def test_every_table_that_a_model_is_made_of_is_watched(store: Store) -> None:
    for model in store._models:
        watched = {table for table, watchers in store._database._watchers.items() if model in watchers}
        assert await tables_read(store, model) == watched, model.name


async def tables_read(store: Store, model: ReadModel[Any]) -> set[sa.Table]:
    """The tables in the statements by which a model is loaded."""
    found: set[sa.Table] = set()

    def note(_connection: object, statement: sa.Select[Any], *_rest: object) -> None:
        for source in statement.get_final_froms():
            found.update(part for part in visitors.iterate(source) if isinstance(part, sa.Table))

    engine = store._database._progress
    event.listen(engine, "before_execute", note)
    try:
        await store._database.read(model._load)
    finally:
        event.remove(engine, "before_execute", note)
    return found


async def test_a_write_by_whatever_statement_is_seen(store: Store) -> None:
    new = a_volume()
    assert not await store.volumes.list("default")
    await store._database.write(lambda connection: connection.execute(inserted(new)))
    assert await store.volumes.list("default") == [new]
    bigger = volume.update().where(volume.c.id == new.id).values(size_gib=4)
    await store._database.write(lambda connection: connection.execute(bigger), progress=True)
    assert [one.size_gib for one in await store.volumes.list("default")] == [4]
    await store._database.write(lambda connection: connection.execute(volume.delete()))
    assert not await store.volumes.list("default")


async def test_a_write_that_is_taken_back_leaves_what_there_was(store: Store) -> None:
    def work(connection: Connection) -> None:
        connection.execute(inserted(a_volume()))
        raise ZeroDivisionError

    before = await counters(store)
    with pytest.raises(ZeroDivisionError):
        await store._database.write(work)
    assert not await store.volumes.list("default")
    assert await counters(store) == before
    assert store.volumes.model._writing == 0


async def test_a_transaction_raises_the_counters_of_what_it_writes_once(store: Store) -> None:
    def work(connection: Connection) -> None:
        for _ in range(3):
            connection.execute(inserted(a_volume()))
            connection.execute(volume.delete())

    before = dict(await counters(store))
    await store._database.write(work)
    assert dict(await counters(store)) == {**before, "volumes": before["volumes"] + 1}


async def counters(store: Store) -> Sequence[tuple[str, int]]:
    return await store._database.read(lambda connection: [tuple(row) for row in connection.execute(_COUNTERS)])

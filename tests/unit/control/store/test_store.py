"""The store as a whole: opening, damage, newer schemas, locks; and its smaller nouns."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from insula.base.clock import now_utc
from insula.base.errors import Conflict, DataCorrupt, HostFailure, InvalidInput, NotFound, Unavailable
from insula.control.store import Acceptance, AuditLine, InstanceFilter, OperationFilter, Store, engine, migrations
from insula.control.store.engine import Database, parse_url
from insula.control.store.read_model import look
from insula.control.store.schema import audit, metadata
from insula.domain.access import Project, Scope, SshKey, Token
from insula.domain.ids import Kind, new_id
from insula.domain.instance import InstanceState
from insula.domain.operation import OperationEvent, OperationState, Verb
from tests.unit.control.store.samples import make_instance, make_operation

LINE = AuditLine("local:test", "default", "instances.create", "web1", "accepted", "req-1")


async def add(store: Store, name: str, **fields: object) -> str:
    instance = make_instance(name, **fields)
    await store.accept(Acceptance(make_operation(instance), instance=instance))
    return instance.id


async def test_it_is_the_same_after_opening_again(database_url: str) -> None:
    store = await Store.open(database_url)
    await add(store, "web1", state=InstanceState.RUNNING, started_at=now_utc())
    before = await store.instances.all()
    await store.close()
    again = await Store.open(database_url)
    assert await again.instances.all() == before
    await again.close()


async def test_the_migrations_make_the_schema(database_url: str) -> None:
    store = await Store.open(database_url)
    await store.close()
    with sa.create_engine(parse_url(database_url), poolclass=sa.NullPool).connect() as connection:
        found = sa.inspect(connection)
        for table in metadata.sorted_tables:
            assert [column["name"] for column in found.get_columns(table.name)] == [c.name for c in table.columns]
            assert {index["name"] for index in found.get_indexes(table.name)} >= {i.name for i in table.indexes}


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


async def test_a_newer_schema_is_refused(database_url: str) -> None:
    store = await Store.open(database_url)
    await store.close()
    database = Database(parse_url(database_url))
    database.transact(lambda connection: connection.execute(sa.text("UPDATE alembic_version SET version_num='9999'")))
    await database.close()
    with pytest.raises(Conflict) as refused:
        await Store.open(database_url)
    assert refused.value.code == "database-newer"


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://", ""])
async def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="INSULA_DATABASE"):
        await Store.open(url)


async def test_a_damaged_file_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "insula.sqlite"
    path.write_bytes(b"this is no database" * 500)
    with pytest.raises(DataCorrupt, match="damaged") as refused:
        await Store.open(f"sqlite:///{path}")
    assert "move" in refused.value.todo
    assert path.read_bytes().startswith(b"this is no database")


async def test_a_locked_file_is_retryable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BUSY_TIMEOUT_S", 0)
    path = tmp_path / "insula.sqlite"
    store = await Store.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        await store.audit.append(LINE)
    assert refused.value.code == "database-locked"
    assert refused.value.retryable
    other.execute("ROLLBACK")
    other.close()
    await store.audit.append(LINE)
    await store.close()


async def test_the_audit_is_append_only_and_chained(store: Store) -> None:
    for number in range(3):
        await store.audit.append(replace(LINE, target=f"web{number}"))
    assert [entry.sequence for entry in await store.audit.list("default", after=1)] == [2, 3]
    assert await store.audit.list("other") == []
    assert await store.audit.verify() is None
    for change in (audit.update().values(subject="nobody"), audit.delete()):
        with pytest.raises(HostFailure, match="refused") as refused:
            await store._database.write(partial(_execute, change))
        assert "append-only" in refused.value.why
    assert len(await store.audit.list(None)) == 3


def _execute(change: sa.Update | sa.Delete, connection: sa.Connection) -> None:
    connection.execute(change)


async def test_tampering_with_the_audit_shows(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'insula.sqlite'}")
    for number in range(3):
        await store.audit.append(replace(LINE, target=f"web{number}"))
    with sqlite3.connect(tmp_path / "insula.sqlite") as raw:
        raw.execute("DROP TRIGGER audit_no_update")
        raw.execute("UPDATE audit SET subject = 'nobody' WHERE sequence = 2")
    raw.close()
    assert await store.audit.verify() == 2
    await store.close()


async def test_appending_at_once_keeps_the_chain(store: Store) -> None:
    await asyncio.gather(*(store.audit.append(LINE) for _ in range(20)))
    assert [entry.sequence for entry in await store.audit.list(None)] == list(range(1, 21))
    assert await store.audit.verify() is None


async def test_tokens(store: Store) -> None:
    token = Token(new_id(Kind.TOKEN), "ci", "default", frozenset({Scope.ADMIN}), now_utc(), None, None, False)
    await store.tokens.add(token, "hash")
    assert await store.tokens.find("hash") == token
    assert await store.tokens.find("other") is None
    version = store.tokens.version()
    revoked = await store.tokens.revoke("default", token.id)
    assert revoked.revoked
    assert store.tokens.version() != version
    assert await store.tokens.find("hash") == revoked
    with pytest.raises(NotFound):
        await store.tokens.revoke("other", token.id)
    await store.tokens.touch(token.id, now_utc())
    assert (await store.tokens.list("default"))[0].last_used_at is not None


async def test_keys(store: Store) -> None:
    key = SshKey(new_id(Kind.KEY), "default", "laptop", "ssh-ed25519 A", "SHA256:a", now_utc())
    await store.keys.add(key)
    for twin in (replace(key, id="key_2", fingerprint="SHA256:b"), replace(key, id="key_2", name="other")):
        with pytest.raises(Conflict):
            await store.keys.add(twin)
    assert await store.keys.get("default", "laptop") == key
    await store.keys.delete("default", key.id)
    assert await store.keys.list("default") == []
    with pytest.raises(NotFound):
        await store.keys.delete("default", key.id)


async def test_projects(store: Store) -> None:
    await store.projects.create(Project("team", now_utc()))
    with pytest.raises(Conflict):
        await store.projects.create(Project("team", now_utc()))
    instance_id = await add(store, "web1", project="team")
    with pytest.raises(Conflict, match="cannot be deleted") as refused:
        await store.projects.delete("team")
    assert refused.value.code == "project-not-empty"
    await store.instances.delete(instance_id)
    await store.projects.delete("team")
    assert [project.name for project in await store.projects.list()] == ["default"]


async def test_lists_filter_and_page(store: Store) -> None:
    ids = [await add(store, f"web{number}", tags=("odd",) if number % 2 else ()) for number in range(5)]
    assert [i.id for i in await store.instances.list("default", limit=2)] == sorted(ids)[:2]
    assert [i.id for i in await store.instances.list("default", after=sorted(ids)[2])] == sorted(ids)[3:]
    assert len(await store.instances.list("default", where=InstanceFilter(tag="odd"))) == 2
    assert await store.instances.list("other") == ()
    found = await store.operations.list("default", limit=2)
    older = await store.operations.list("default", after=found[-1].id)
    assert [o.id for o in (*found, *older)] == sorted((o.id for o in (*found, *older)), reverse=True)
    assert len(older) == 3
    assert await store.operations.list("default", where=OperationFilter(verb=Verb.STOP_INSTANCE)) == []


async def test_renaming_and_the_read_model(store: Store) -> None:
    await add(store, "web1")
    second = await add(store, "web2")
    version = store.instances.version()
    with pytest.raises(Conflict) as refused:
        await store.instances.change("default", second, name="web1")
    assert refused.value.code == "name-taken"
    await store.instances.change("default", second, name="web3", protected=True)
    assert store.instances.version() > version
    assert (await store.instances.get("default", "web3")).protected
    with pytest.raises(NotFound):
        await store.instances.change("other", second, name="web4")


async def test_what_is_committed_is_seen_before_the_writer_has_come_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who sees an operation's end would see its instance as it was before."""
    instance_id = await add(store, "web1")
    await store.instances.get("default", "web1")
    version, ended = store.instances.version(), store.instances.model.ended
    committed, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        committed.set()
        go_on.wait(10)
        ended()

    monkeypatch.setattr(store.instances.model, "ended", wait)
    writing = asyncio.create_task(store.instances.update(instance_id, state=InstanceState.RUNNING))
    try:
        assert await asyncio.to_thread(committed.wait, 10)
        assert not writing.done()
        assert (await store.instances.get("default", instance_id)).state is InstanceState.RUNNING
        assert store.instances.version() != version
    finally:
        go_on.set()
        await writing
    assert (await store.instances.get("default", instance_id)).state is InstanceState.RUNNING


async def test_events_are_stored_once(store: Store) -> None:
    instance = make_instance()
    operation = make_operation(instance)
    await store.accept(Acceptance(operation, instance=instance))
    event = OperationEvent(1, operation.id, now_utc(), "progress", "disk", "half", 50, {"a": 1})
    await store.operations.record(operation.id, [event], state=OperationState.RUNNING)
    await store.operations.record(operation.id, [event, replace(event, sequence=2)])
    assert await store.operations.events(operation.id) == [event, replace(event, sequence=2)]
    assert await store.operations.events(operation.id, after=1) == [replace(event, sequence=2)]
    assert (await store.operations.active_for(instance.id)) is not None
    cancelled = await store.operations.request_cancel("default", operation.id)
    assert cancelled.cancel_requested


async def test_another_controller_is_noticed(database_url: str) -> None:
    here, there = await Store.open(database_url), await Store.open(database_url)
    assert await here.instances.all() == []
    await add(there, "web1")
    await look(here._database, here._models)
    assert [i.name for i in await here.instances.all()] == ["web1"]
    await here.close()
    await there.close()


async def test_moments_are_exact(store: Store) -> None:
    moment = now_utc().replace(microsecond=123457) - timedelta(days=20000)
    instance_id = await add(store, "web1", started_at=moment)
    found = await store.instances.find(instance_id)
    assert found is not None
    assert found.started_at == moment

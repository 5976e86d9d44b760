"""Leases in the store: who may have one, what the audit log keeps of it, and databases from before there were any."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store import Acceptance, AuditLine, Store, migrations
from insula.domain.instance import InstanceState
from tests.unit.control.store.samples import make_instance, make_operation

LINE = AuditLine("local:test", "default", "instances.lease", "web1", "given", "req-1")


async def add(store: Store, **fields: Any) -> str:
    instance = make_instance(**fields)
    await store.accept(Acceptance(make_operation(instance), instance=instance))
    return instance.id


async def test_it_is_given_renewed_and_taken_off(store: Store) -> None:
    instance_id = await add(store)
    given = await store.instances.lease("default", instance_id, 600, LINE)
    assert given.lease_until is not None
    assert timedelta(seconds=595) < given.lease_until - now_utc() <= timedelta(seconds=600)
    renewed = await store.instances.lease("default", instance_id, 1200, LINE)
    assert (await store.instances.get("default", instance_id)) == renewed
    assert renewed.lease_s == 1200
    off = await store.instances.lease("default", instance_id, None, LINE)
    assert (off.lease_s, off.lease_until) == (None, None)


async def test_a_renewal_leaves_no_line_in_the_audit_log(store: Store) -> None:
    instance_id = await add(store)
    for lease_s in (600, 600, 900, None, None):
        await store.instances.lease("default", instance_id, lease_s, LINE)
    assert len(await store.audit.list("default")) == 2


async def test_it_and_protection_exclude_each_other(store: Store) -> None:
    instance_id = await add(store, protected=True)
    with pytest.raises(Conflict) as refused:
        await store.instances.lease("default", instance_id, 600, LINE)
    assert (refused.value.code, "unprotect web1" in refused.value.todo) == ("protected", True)
    await store.instances.change("default", instance_id, protected=False)
    await store.instances.lease("default", instance_id, 600, LINE)
    with pytest.raises(Conflict) as refused:
        await store.instances.change("default", instance_id, protected=True)
    assert (refused.value.code, "lease web1 off" in refused.value.todo) == ("leased", True)
    assert not (await store.instances.change("default", instance_id, protected=False)).protected


async def test_what_is_being_deleted_gets_none_and_others_see_none(store: Store) -> None:
    instance_id = await add(store, state=InstanceState.DELETING)
    with pytest.raises(Conflict) as refused:
        await store.instances.lease("default", instance_id, 600, LINE)
    assert refused.value.code == "wrong-state"
    with pytest.raises(NotFound):
        await store.instances.lease("other", instance_id, 600, LINE)


async def test_a_database_from_before_leases_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "insula.sqlite"
    with monkeypatch.context() as before:
        before.setattr(migrations, "HEAD", "0001")
        await (await Store.open(f"sqlite:///{path}")).close()
    fresh = make_instance("new")
    columns = {
        "id": fresh.id,
        "name": "old",
        "state": "running",
        "resources": '{"vcpus": 1, "memory_mib": 256, "disk_gib": 5, "cpu_percent": 25}',
    }
    others = dict.fromkeys(("image", "plan", "hostname", "mac", "node", "user_data", "problem"), "x")
    lists = dict.fromkeys(("ssh_keys", "forwards", "tags", "boot_phases"), "[]")
    numbers = dict.fromkeys(("created_at", "updated_at", "protected", "restarts"), 0)
    words = {"project": "default", "firmware": "auto", "machine_type": "auto", "restart_policy": "always"}
    row = {**columns, **others, **lists, **numbers, **words}
    with sqlite3.connect(path) as old:
        old.execute(f"INSERT INTO instance ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    old.close()
    store = await Store.open(f"sqlite:///{path}")
    found = await store.instances.get("default", "old")
    assert (found.state, found.lease_s, found.lease_until) == (InstanceState.RUNNING, None, None)
    assert (await store.instances.lease("default", found.id, 600, LINE)).lease_s == 600
    await store.close()

"""Numbers and texts of records: given once, kept for ever."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from insula.control.store import Acceptance, Store
from insula.control.store.aliases import Aliases
from insula.domain.instance import Platform
from tests.unit.control.store.older import step_back
from tests.unit.control.store.samples import make_instance, make_operation


async def test_a_record_has_one_number_for_ever(store: Store) -> None:
    first = await store.aliases.of(["ins_a", "ins_b"])
    assert [first["ins_a"].number < first["ins_b"].number, len(first)] == [True, 2]
    again = await store.aliases.of(["ins_b", "ins_c", "ins_a", "ins_a"])
    assert {record: again[record].number for record in first} == {name: one.number for name, one in first.items()}
    found = await store.aliases.find(again["ins_c"].number)
    assert found == again["ins_c"]
    assert await store.aliases.find(10**9) is None


async def test_many_at_once_get_different_numbers(store: Store) -> None:
    asked = await asyncio.gather(*(store.aliases.of([f"ins_{n}", "ins_shared"]) for n in range(20)))
    assert len({one["ins_shared"].number for one in asked}) == 1
    assert len({alias.number for one in asked for alias in one.values()}) == 21


async def test_more_than_one_statement_can_ask_for(store: Store) -> None:
    records = [f"ins_{n}" for n in range(1201)]
    numbers = [alias.number for alias in (await store.aliases.of(records)).values()]
    assert len(set(numbers)) == 1201


async def test_facts_are_added_and_forgotten(store: Store) -> None:
    first = await store.aliases.note({"ins_a": {"name": "Ä", "region": "x", "none": ""}, "op_b": {}})
    noted = await store.aliases.note({"ins_a": {"region": "", "size": "s"}})
    assert noted["ins_a"].facts == {"name": "Ä", "size": "s"}
    for known in (store.aliases, Aliases(store.aliases._database)):  # from memory, and from the table
        assert await known.of(["ins_a", "op_b"]) == {**noted, "op_b": first["op_b"]}
        assert await known.find(first["op_b"].number) == first["op_b"]


async def _add(store: Store, name: str) -> str:
    instance = make_instance(name)
    await store.accept(Acceptance(make_operation(instance), instance=instance))
    return instance.id


async def test_an_instance_has_its_number_from_the_first(store: Store) -> None:
    added = [await _add(store, name) for name in ("web1", "web2")]
    known = await store.aliases.of(added)
    for instance_id in added:
        found = await store.instances.find(instance_id)
        assert found is not None
        assert found.number == known[instance_id].number > 0


async def test_instances_from_before_keep_the_number_that_they_are_known_by(tmp_path: Path) -> None:
    path = tmp_path / "insula.sqlite"
    store = await Store.open(f"sqlite:///{path}")
    known, unknown = await _add(store, "known"), await _add(store, "unknown")
    number = (await store.aliases.of([known]))[known].number
    await store.close()
    step_back(path, "0012")
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("DELETE FROM alias WHERE record = ?", (unknown,))
    store = await Store.open(f"sqlite:///{path}")
    found = {one.name: one for one in await store.instances.all()}
    assert found["known"].number == number
    assert found["unknown"].number == (await store.aliases.of([unknown]))[unknown].number > number
    assert {(one.platform, one.region) for one in found.values()} == {(Platform.AUTO, "")}
    await store.close()

"""Numbers and texts of records: given once, kept for ever."""

from __future__ import annotations

import asyncio

from insula.control.store import Store
from insula.control.store.aliases import Aliases


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

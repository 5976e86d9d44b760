"""Numbers and texts for front ends whose clients cannot do with our ids and names.

They grant nothing: whoever has the number of a record still asks an action for it, which looks whose it is. Texts are
noted beside an action that changes the record, which has looked whether the caller may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from insula.control.actions.caller import ACTIONS, Caller
from insula.control.store import Store
from insula.domain.alias import Alias


def project_record(caller: Caller) -> str:
    """What texts about the caller's project are kept with."""
    return f"project:{caller.project}"


class Aliases:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, records: Iterable[str]) -> Mapping[str, Alias]:
        """Those of records, by record; a number is given to what has none, in the order given, and stays for ever."""
        return await self._store.aliases.of(records)

    async def record_of(self, number: int) -> str:
        """The record of a number, empty when there is none. It may be gone, or another project's."""
        found = await self._store.aliases.find(number)
        return "" if found is None else found.record

    async def of_project(self, caller: Caller) -> Mapping[str, str]:
        """The texts that are kept with the caller's project."""
        record = project_record(caller)
        return (await self._store.aliases.of([record]))[record].facts

    async def describe_project(self, caller: Caller, facts: Mapping[str, str]) -> None:
        """Keep texts with the caller's project. Raises Forbidden unless it may change instances."""
        await self.describe(caller, "instances.change", project_record(caller), facts)

    async def describe(self, caller: Caller, action: str, record: str, facts: Mapping[str, str]) -> None:
        """Keep texts with a record. Raises Forbidden unless the caller may do `action`."""
        ACTIONS[action].authorize(caller)
        await self.note(record, facts)

    async def note(self, record: str, facts: Mapping[str, str], *others: str) -> None:
        """Keep texts with a record; an empty one is forgotten. Gives numbers to `others` in the same go. Repeatable."""
        await self._store.aliases.note({record: facts, **{other: {} for other in others}})

"""Numbers and texts for front ends whose clients cannot do with our ids and names.

They grant nothing: whoever has the number of a record still asks an action for it, which looks whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from insula.control.store import Store
from insula.domain.alias import Alias


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

    async def note(self, record: str, facts: Mapping[str, str], *others: str) -> None:
        """Keep texts with a record; an empty one is forgotten. Gives numbers to `others` in the same go. Repeatable."""
        await self._store.aliases.note({record: facts, **{other: {} for other in others}})

"""Numbers and texts by which clients of other vendors' APIs know records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.engine import Connection

from insula.control.store.alias_schema import alias
from insula.control.store.engine import Database
from insula.domain.alias import Alias

_AT_ONCE = 500  # variables that one statement may have


class Aliases:
    """The table of aliases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, records: Iterable[str]) -> Mapping[str, Alias]:
        """Those of all records, by record; one that has none gets the next number, in the order given."""
        wanted = list(dict.fromkeys(records))
        found = await self._database.read(lambda connection: _aliases(connection, wanted))
        if len(found) == len(wanted):
            return found

        def work(connection: Connection) -> Mapping[str, Alias]:
            self._database.lock(connection, "alias")
            there = _aliases(connection, wanted)
            rows = [{"record": record, "facts": {}} for record in wanted if record not in there]
            if rows:
                connection.execute(alias.insert(), rows)
            return _aliases(connection, wanted)

        return await self._database.write(work)

    async def find(self, number: int) -> Alias | None:
        """The one of this number."""
        query = alias.select().where(alias.c.number == number)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Alias(**row._mapping)

    async def note(self, record: str, facts: Mapping[str, str]) -> Alias:
        """Add to a record's facts; an empty one is forgotten. Repeatable."""
        await self.of([record])

        def work(connection: Connection) -> Alias:
            self._database.lock(connection, "alias")
            known = _aliases(connection, [record])[record]
            changed = {name: value for name, value in {**known.facts, **facts}.items() if value}
            connection.execute(alias.update().where(alias.c.record == record).values(facts=changed))
            return _aliases(connection, [record])[record]

        return await self._database.write(work)


def _aliases(connection: Connection, records: Sequence[str]) -> dict[str, Alias]:
    found: dict[str, Alias] = {}
    for begin in range(0, len(records), _AT_ONCE):
        query = alias.select().where(alias.c.record.in_(records[begin : begin + _AT_ONCE]))
        found |= {row.record: Alias(**row._mapping) for row in connection.execute(query)}
    return found

"""Numbers and texts by which clients of other vendors' APIs know records."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.engine import Connection

from insula.control.store.alias_schema import alias
from insula.control.store.engine import Database
from insula.domain.alias import Alias

_AT_ONCE = 500  # variables that one statement may have
_REMEMBERED = 50_000


class Aliases:
    """The table of aliases, the ones used last in memory: SQLite has one controller, which knows all changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, Alias] = OrderedDict()
        self._records: dict[int, str] = {}

    async def of(self, records: Iterable[str]) -> Mapping[str, Alias]:
        """Those of all records, by record; one that has none gets the next number, in the order given."""
        wanted = list(dict.fromkeys(records))
        found = {record: self._known[record] for record in wanted if record in self._known}
        if missing := [record for record in wanted if record not in found]:
            there: Mapping[str, Alias] = await self._database.read(lambda connection: _aliases(connection, missing))
            if len(there) < len(missing):
                there = await self._write({record: {} for record in missing})
            found |= self._remember(there)
        return found

    async def find(self, number: int) -> Alias | None:
        """The one of this number."""
        if number in self._records:
            return self._known[self._records[number]]
        query = alias.select().where(alias.c.number == number)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Alias(**row._mapping)

    async def note(self, facts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Alias]:
        """Add to the facts of records; an empty one is forgotten. Repeatable."""
        return self._remember(await self._write(facts))

    async def _write(self, facts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Alias]:
        def work(connection: Connection) -> Mapping[str, Alias]:
            self._database.lock(connection, "alias")
            there = _aliases(connection, list(facts))
            if new := [{"record": one, "facts": _kept(facts[one])} for one in facts if one not in there]:
                connection.execute(alias.insert(), new)
            for record, known in there.items():
                changed = _kept({**known.facts, **facts[record]})
                if changed != known.facts:
                    connection.execute(alias.update().where(alias.c.record == record).values(facts=changed))
            return _aliases(connection, list(facts))

        return await self._database.write(work)

    def _remember(self, aliases: Mapping[str, Alias]) -> Mapping[str, Alias]:
        if self._database.is_sqlite:
            for record, one in aliases.items():
                self._known[record] = one
                self._known.move_to_end(record)
                self._records[one.number] = record
            while len(self._known) > _REMEMBERED:
                del self._records[self._known.popitem(last=False)[1].number]
        return aliases


def number_of(connection: Connection, record: str) -> int:
    """The number of a record, the next one if it has none yet: part of another transaction."""
    if not (there := _aliases(connection, [record])):
        connection.execute(alias.insert(), [{"record": record, "facts": {}}])
        there = _aliases(connection, [record])
    return there[record].number


def _kept(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if value}


def _aliases(connection: Connection, records: Sequence[str]) -> dict[str, Alias]:
    found: dict[str, Alias] = {}
    for begin in range(0, len(records), _AT_ONCE):
        query = alias.select().where(alias.c.record.in_(records[begin : begin + _AT_ONCE]))
        found |= {row.record: Alias(**row._mapping) for row in connection.execute(query)}
    return found

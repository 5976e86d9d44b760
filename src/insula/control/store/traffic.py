"""What instances send and receive, hour by hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.control.store.engine import Database
from insula.control.store.schema import instance
from insula.control.store.traffic_schema import COUNTS, traffic, traffic_seen
from insula.domain.traffic import KEPT_DAYS, Counts, HourTraffic, Reading, hour_of


class Traffic:
    """The tables of traffic."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, readings: Sequence[Reading], now: datetime) -> None:
        """Add what has come since the last reading of each card to this hour, in one transaction.

        So a reading counts once, however often it is noted. What is older than a year and some is forgotten.
        """

        def work(connection: Connection) -> None:
            self._database.lock(connection, "traffic")
            seen = _seen(connection, [reading.port_id for reading in readings])
            alive = _alive(connection, {reading.instance_id for reading in readings})
            for reading in readings:
                before = seen.get(reading.port_id)
                if before == (reading.epoch, reading.counts) or reading.instance_id not in alive:
                    continue
                fresh = reading.counts
                if before is not None and before[0] == reading.epoch:
                    fresh = reading.counts.since(before[1])
                _remember(connection, reading, is_known=before is not None)
                _add(connection, reading, fresh, hour_of(now))
            connection.execute(traffic.delete().where(traffic.c.hour < now - timedelta(days=KEPT_DAYS)))

        await self._database.write(work)

    async def of_instance(self, instance_id: str, since: datetime) -> Sequence[HourTraffic]:
        """Its hours from then on in which there was any, in order."""

        def work(connection: Connection) -> Sequence[HourTraffic]:
            wanted = traffic.select().where(traffic.c.instance_id == instance_id, traffic.c.hour >= hour_of(since))
            rows = connection.execute(wanted.order_by(traffic.c.hour))
            return [HourTraffic(row.hour, Counts(*(getattr(row, name) for name in COUNTS))) for row in rows]

        return await self._database.read(work)


def _seen(connection: Connection, port_ids: Iterable[str]) -> Mapping[str, tuple[str, Counts]]:
    wanted = set(port_ids)
    rows = connection.execute(traffic_seen.select())
    return {
        row.port_id: (row.epoch, Counts(*(getattr(row, name) for name in COUNTS)))
        for row in rows
        if row.port_id in wanted
    }


def _alive(connection: Connection, instance_ids: set[str]) -> set[str]:
    """Which of them are recorded: one may have gone since it was read."""
    return instance_ids & set(connection.execute(sa.select(instance.c.id)).scalars())


def _remember(connection: Connection, reading: Reading, *, is_known: bool) -> None:
    values = dict(zip(COUNTS, reading.counts.values, strict=True)) | {"epoch": reading.epoch}
    if is_known:
        change = traffic_seen.update().where(traffic_seen.c.port_id == reading.port_id)
        connection.execute(change.values(values))
    else:
        new = {"port_id": reading.port_id, "instance_id": reading.instance_id}
        connection.execute(traffic_seen.insert().values(values | new))


def _add(connection: Connection, reading: Reading, fresh: Counts, hour: datetime) -> None:
    if not any(fresh.values):
        return
    pairs = list(zip(COUNTS, fresh.values, strict=True))
    same = (traffic.c.instance_id == reading.instance_id, traffic.c.hour == hour)
    change = traffic.update().where(*same).values({name: traffic.c[name] + value for name, value in pairs})
    if connection.execute(change).rowcount == 0:
        row = {"instance_id": reading.instance_id, "hour": hour, "project": reading.project}
        connection.execute(traffic.insert().values(row | dict(pairs)))

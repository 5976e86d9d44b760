"""Schedules of backups as control records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import NotFound
from insula.control.store.backup_stores import usable_store
from insula.control.store.engine import Database
from insula.control.store.instances import find_instance, unknown_instance
from insula.control.store.read_model import ReadModel
from insula.control.store.schema import backup_schedule
from insula.domain.schedule import BackupSchedule


class BackupSchedules:
    """The table of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Sequence[BackupSchedule]] = ReadModel(
            database, "backup_schedules", _load, backup_schedule
        )

    async def all(self) -> Sequence[BackupSchedule]:
        """Those of all projects, in the order of their instances' ids."""
        return list(await self.model.value())

    async def list(self, project: str) -> Sequence[BackupSchedule]:
        """All of a project, in the order of their instances' ids."""
        return [found for found in await self.all() if found.project == project]

    async def find(self, instance_id: str) -> BackupSchedule | None:
        """An instance's schedule."""
        query = backup_schedule.select().where(backup_schedule.c.instance_id == instance_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else BackupSchedule(**row._mapping)

    async def set(self, new: BackupSchedule) -> BackupSchedule:
        """Give an instance this schedule instead of any that it has. Raises NotFound and Conflict (store)."""

        def work(connection: Connection) -> BackupSchedule:
            self._database.lock(connection, "accept")
            usable_store(connection, new.store_id, new.project)
            if find_instance(connection, new.instance_id).project != new.project:
                raise unknown_instance(new.instance_id, f"in project {new.project}")
            same = backup_schedule.c.instance_id == new.instance_id
            connection.execute(backup_schedule.delete().where(same))
            values = {column.name: getattr(new, column.name) for column in backup_schedule.columns}
            connection.execute(backup_schedule.insert().values(values))
            return new

        return await self._database.write(work)

    async def note(self, schedule: BackupSchedule, **fields: Any) -> bool:
        """Write some fields unless it was changed or ended since it was read; whether they are written."""

        def work(connection: Connection) -> bool:
            same = backup_schedule.update().where(
                backup_schedule.c.instance_id == schedule.instance_id,
                backup_schedule.c.created_at == schedule.created_at,
            )
            return connection.execute(same.values(**fields, updated_at=now_utc())).rowcount > 0

        return await self._database.write(work)

    async def remove(self, instance_id: str) -> None:
        """End it. Raises :class:`NotFound`."""

        def work(connection: Connection) -> None:
            same = backup_schedule.c.instance_id == instance_id
            if connection.execute(backup_schedule.delete().where(same)).rowcount == 0:
                raise unknown_schedule()

        await self._database.write(work)


def _load(connection: Connection) -> Sequence[BackupSchedule]:
    rows = connection.execute(backup_schedule.select().order_by(backup_schedule.c.instance_id))
    return tuple(BackupSchedule(**row._mapping) for row in rows)


def unknown_schedule() -> NotFound:
    """The error for a schedule that is not there."""
    return NotFound(
        "The instance has no schedule of backups",
        why="None was set, or it was ended",
        todo="Look at `insula backup schedule list`",
        code="unknown-schedule",
    )

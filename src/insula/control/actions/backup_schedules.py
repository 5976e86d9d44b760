"""Schedules of backups: when they are due, which are kept, how often one is tried."""

from __future__ import annotations

from dataclasses import dataclass, field

from insula.base.clock import now_utc
from insula.control.actions.caller import Audit, Caller, action, note
from insula.control.actions.faults import Faults
from insula.control.store import Store, unknown_schedule
from insula.domain.access import Scope
from insula.domain.operation import Verb
from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every, next_after

MAX_KEPT = 1000
MINUTES_A_DAY = 24 * 60
_DRILL_AFTER_MIN = 60  # a while after the backup, which it then tries


@dataclass(frozen=True)
class ScheduleWish:
    """`at_minute` is the minute of the day in UTC. `drill` says how often the newest backup is tried."""

    store: str
    every: Every
    at_minute: int = 180
    keep: Keep = field(default_factory=Keep)
    drill: Every | None = None


class BackupScheduleActions:
    """`instance` is a name or an id; each has one schedule at most."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @action("schedules.list", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> tuple[BackupSchedule, ...]:
        """All of the project, in the order of their instances."""
        return tuple(await self.store.backup_schedules.list(caller.project))

    @action("schedules.show", Scope.BACKUPS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, instance: str) -> BackupSchedule:
        """Raises NotFound when it has none."""
        found = await self.store.instances.get(caller.project, instance)
        schedule = await self.store.backup_schedules.find(found.id)
        if schedule is None:
            raise unknown_schedule()
        return schedule

    @action("schedules.set", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def set(self, caller: Caller, instance: str, wish: ScheduleWish) -> BackupSchedule:
        """Give an instance a schedule, instead of any that it has. Raises InvalidInput, NotFound and Conflict."""
        host = await self.store.instances.get(caller.project, instance)
        place = await self.store.backup_stores.get(caller.project, wish.store)
        faults = Faults()
        faults.between("at_minute", wish.at_minute, 0, MINUTES_A_DAY - 1)
        for name in ("hourly", "daily", "weekly", "monthly"):
            faults.between(f"keep.{name}", getattr(wish.keep, name), 0, MAX_KEPT)
        faults.raise_if_any(f"Instance {host.name} cannot have such a schedule")
        now = now_utc()
        drill_minute = (wish.at_minute + _DRILL_AFTER_MIN) % MINUTES_A_DAY
        made = await self.store.backup_schedules.set(
            BackupSchedule(
                instance_id=host.id,
                project=caller.project,
                store_id=place.id,
                every=wish.every,
                at_minute=wish.at_minute,
                keep=wish.keep,
                drill=wish.drill,
                created_at=now,
                updated_at=now,
                next_at=next_after(wish.every, wish.at_minute, now),
                drill_at=None if wish.drill is None else next_after(wish.drill, drill_minute, now),
            )
        )
        what = {"store_id": place.id, "every": wish.every}
        await note(self.store, caller, Verb.SCHEDULE_BACKUPS, (host.id, host.name), what)
        return made

    @action("schedules.end", Scope.BACKUPS_WRITE, audit=Audit.AFTER)
    async def end(self, caller: Caller, instance: str) -> None:
        """No more backups by schedule; those that there are stay. Raises NotFound when it has none."""
        host = await self.store.instances.get(caller.project, instance)
        await self.store.backup_schedules.remove(host.id)
        await note(self.store, caller, Verb.UNSCHEDULE_BACKUPS, (host.id, host.name), {})

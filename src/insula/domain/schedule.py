"""When an instance's backups are due, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from insula.domain.retention import Keep

_FIRST_WAIT_S, _LONGEST_WAIT_S = 300, 6 * 3600


class Every(StrEnum):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"  # on Mondays
    MONTHLY = "monthly"  # on the first


@dataclass(frozen=True)
class BackupSchedule:
    """An instance's schedule as control records it; an instance has one at most.

    `at_minute` is the minute of the day (UTC); only the minute of the hour counts for hourly ones. `next_at` is when
    the next backup is due, or is tried again after a failure. `operation_id` and `drill_operation_id` are the last
    operations whose end is not noted yet, empty for none. `failures` counts those since the last success.
    """

    instance_id: str
    project: str
    store_id: str
    every: Every
    at_minute: int
    keep: Keep
    drill: Every | None
    created_at: datetime
    updated_at: datetime
    next_at: datetime
    drill_at: datetime | None = None
    operation_id: str = ""
    drill_operation_id: str = ""
    last_at: datetime | None = None
    failures: int = 0
    problem: str = ""
    drill_problem: str = ""


def next_after(every: Every, at_minute: int, moment: datetime) -> datetime:
    """The first due moment after `moment`, which is in UTC. However many were missed, there is one next."""
    hour, minute = divmod(at_minute, 60)
    if every is Every.HOURLY:
        first = moment.replace(minute=minute, second=0, microsecond=0)
        return first if first > moment else first + timedelta(hours=1)
    first = moment.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if every is Every.DAILY:
        return first if first > moment else first + timedelta(days=1)
    if every is Every.WEEKLY:
        first -= timedelta(days=first.weekday())
        return first if first > moment else first + timedelta(days=7)
    first = first.replace(day=1)
    return first if first > moment else (first + timedelta(days=31)).replace(day=1)


def retry_after(schedule: BackupSchedule, moment: datetime, failures: int) -> datetime:
    """When one that failed so often is tried again: ever later, but not later than it is due anyway."""
    wait_s = min(_FIRST_WAIT_S * 2 ** min(failures - 1, 16), _LONGEST_WAIT_S)
    return min(moment + timedelta(seconds=wait_s), next_after(schedule.every, schedule.at_minute, moment))

"""Which of a schedule's backups are kept: the newest of each of the last hours, days, weeks and months with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Keep:
    """Of how many hours, days, weeks and months one is kept; all 0 keeps all."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @property
    def is_all(self) -> bool:
        """Whether nothing is ever deleted."""
        return not (self.hourly or self.daily or self.weekly or self.monthly)


Period = Callable[[datetime], tuple[int, ...]]


def _hour(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day, at.hour)


def _day(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day)


def _week(at: datetime) -> tuple[int, ...]:
    return tuple(at.isocalendar()[:2])


def _month(at: datetime) -> tuple[int, ...]:
    return (at.year, at.month)


def doomed(backups: Iterable[tuple[str, datetime]], keep: Keep) -> frozenset[str]:
    """The ids of those that need not be kept, of all with their moments in UTC. The newest of all is always kept.

    Periods without a backup do not count: after a month in which none was made, the older ones are still there.
    """
    newest_first = sorted(backups, key=lambda backup: (backup[1], backup[0]), reverse=True)
    if keep.is_all:
        return frozenset()
    kept = {backup_id for backup_id, _ in newest_first[:1]}
    rules: tuple[tuple[int, Period], ...] = (
        (keep.hourly, _hour),
        (keep.daily, _day),
        (keep.weekly, _week),
        (keep.monthly, _month),
    )
    for count, period in rules:
        newest: dict[tuple[int, ...], str] = {}
        for backup_id, at in newest_first:
            if len(newest) < count:
                newest.setdefault(period(at), backup_id)
        kept.update(newest.values())
    return frozenset(backup_id for backup_id, _ in newest_first if backup_id not in kept)

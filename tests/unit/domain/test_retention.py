"""Which backups are kept, for any that there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from insula.domain.retention import Keep, doomed

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.lists(st.integers(0, 3 * 365 * 24 * 60), max_size=60, unique=True)
COUNTS = st.integers(0, 6)
KEEPS = st.builds(Keep, COUNTS, COUNTS, COUNTS, COUNTS)


def made(minutes: list[int]) -> list[tuple[str, datetime]]:
    return [(f"b{number}", _BEGIN + timedelta(minutes=at)) for number, at in enumerate(minutes)]


def at(day: int, hour: int = 3) -> datetime:
    return _BEGIN + timedelta(days=day, hours=hour)


def left(days: list[datetime], keep: Keep) -> list[datetime]:
    backups = [(str(number), moment) for number, moment in enumerate(days)]
    gone = doomed(backups, keep)
    return [moment for backup_id, moment in backups if backup_id not in gone]


def test_the_newest_of_each_day() -> None:
    days = [at(0), at(0, 9), at(1), at(2), at(2, 9), at(2, 23)]
    assert left(days, Keep(daily=2)) == [at(1), at(2, 23)]
    assert left(days, Keep(daily=7)) == [at(0, 9), at(1), at(2, 23)]


def test_periods_without_one_do_not_count() -> None:
    assert left([at(0), at(200), at(300)], Keep(daily=2)) == [at(200), at(300)]


def test_the_rules_add_up() -> None:
    days = [at(day) for day in range(70)]
    kept = left(days, Keep(daily=2, weekly=2, monthly=3))
    # The 31st of January, the 28th of February and the 11th of March; the Sundays; the last two days.
    assert kept == [at(30), at(58), at(66), at(68), at(69)]


def test_without_rules_all_are_kept() -> None:
    assert doomed(made([1, 2, 3]), Keep()) == frozenset()


@given(MOMENTS, KEEPS)
def test_the_newest_is_kept_and_no_more_than_asked_for(minutes: list[int], keep: Keep) -> None:
    backups = made(minutes)
    gone = doomed(backups, keep)
    if backups:
        assert max(backups, key=lambda backup: backup[1])[0] not in gone
    if not keep.is_all:
        most = max(1, keep.hourly + keep.daily + keep.weekly + keep.monthly)
        assert len(backups) - len(gone) <= most


@given(MOMENTS, KEEPS)
def test_what_was_kept_is_kept_when_asked_again(minutes: list[int], keep: Keep) -> None:
    backups = made(minutes)
    gone = doomed(backups, keep)
    assert doomed([each for each in backups if each[0] not in gone], keep) == frozenset()


@given(MOMENTS, KEEPS, st.integers(1, 3))
def test_keeping_more_deletes_nothing_that_was_kept(minutes: list[int], keep: Keep, more: int) -> None:
    if keep.is_all:
        return
    larger = Keep(keep.hourly + more, keep.daily, keep.weekly, keep.monthly + more)
    assert doomed(made(minutes), larger) <= doomed(made(minutes), keep)


@given(MOMENTS, st.sampled_from([1, -1]))
def test_the_order_does_not_matter(minutes: list[int], order: int) -> None:
    backups = made(minutes)
    assert doomed(backups[::order], Keep(1, 2, 2, 2)) == doomed(sorted(backups), Keep(1, 2, 2, 2))

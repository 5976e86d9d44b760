"""When backups are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every, next_after, retry_after

AT = datetime(2026, 1, 31, 8, 15, 30, tzinfo=UTC)  # a Saturday
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - st's way


@pytest.mark.parametrize(
    ("every", "minute", "due"),
    [
        (Every.HOURLY, 20, datetime(2026, 1, 31, 8, 20, tzinfo=UTC)),
        (Every.HOURLY, 3 * 60 + 15, datetime(2026, 1, 31, 9, 15, tzinfo=UTC)),
        (Every.DAILY, 180, datetime(2026, 2, 1, 3, tzinfo=UTC)),
        (Every.DAILY, 600, datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (Every.WEEKLY, 180, datetime(2026, 2, 2, 3, tzinfo=UTC)),
        (Every.MONTHLY, 180, datetime(2026, 2, 1, 3, tzinfo=UTC)),
    ],
)
def test_the_next_one(every: Every, minute: int, due: datetime) -> None:
    assert next_after(every, minute, AT) == due


@given(st.sampled_from(Every), st.integers(0, 1439), MOMENTS)
def test_it_is_ever_later_and_never_skips_one(every: Every, minute: int, moment: datetime) -> None:
    due = next_after(every, minute, moment)
    assert due > moment
    assert due.minute == minute % 60
    longest = {Every.HOURLY: 1 / 24, Every.DAILY: 1, Every.WEEKLY: 7, Every.MONTHLY: 31}[every]
    assert due - moment <= timedelta(days=longest)
    # Whoever asks a little before gets the same one.
    assert next_after(every, minute, due - timedelta(microseconds=1)) == due


def test_what_fails_is_tried_again_but_not_later_than_it_is_due_anyway() -> None:
    schedule = BackupSchedule(
        *("ins_1", "default", "sto_1", Every.DAILY, 0, Keep(), None),
        created_at=AT,
        updated_at=AT,
        next_at=AT,
    )
    waits = [retry_after(schedule, AT, failures) - AT for failures in range(1, 12)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(minutes=5), timedelta(hours=6))
    late = AT.replace(hour=23)
    assert retry_after(schedule, late, 9) == datetime(2026, 2, 1, tzinfo=UTC)

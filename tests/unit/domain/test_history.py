from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from insula.domain.history import (
    LONGEST_STRETCH_S,
    RESOLUTIONS,
    Mean,
    Metric,
    Reading,
    Seen,
    Stretch,
    coarsest_within,
    cut,
    finest,
    newest,
    roll_up,
    series_of,
    starts_of,
    stretches,
)

_HOUR_S = 3600
_seconds = some.floats(0.5, 7200)
_values = some.floats(0, 1e12)
_stretches = some.lists(some.tuples(some.floats(0, 5e4), _seconds, _values), min_size=1, max_size=20)


def _buckets(parts: list[tuple[float, float, float]], step_s: int = 10) -> dict[int, dict[Metric, Mean]]:
    found: dict[int, dict[Metric, Mean]] = {}
    for begin, length, value in parts:
        for start, mean in cut(Stretch(Metric.CPU, begin, begin + length, value), step_s):
            before = found.get(start, {}).get(Metric.CPU)
            found[start] = {Metric.CPU: before.merged(mean) if before is not None else mean}
    return found


def _sum(buckets: object) -> float:
    assert isinstance(buckets, dict)
    return math.fsum(means[Metric.CPU].avg * means[Metric.CPU].seconds for means in buckets.values())


@settings(deadline=None)
@given(_stretches, some.sampled_from([60, 300, 3600, 86400]))
def test_sums_are_kept_however_they_are_rolled_up(parts: list[tuple[float, float, float]], step_s: int) -> None:
    fine = _buckets(parts)
    coarse = roll_up(fine, step_s)
    assert _sum(fine) == pytest.approx(math.fsum(length * value for _, length, value in parts), rel=1e-9, abs=1e-3)
    assert _sum(coarse) == pytest.approx(_sum(fine), rel=1e-9, abs=1e-3)
    assert max(one[Metric.CPU].max for one in coarse.values()) == max(value for _, _, value in parts)


@settings(deadline=None)
@given(_stretches)
def test_what_was_not_measured_stays_a_gap(parts: list[tuple[float, float, float]]) -> None:
    buckets = _buckets(parts)
    starts = starts_of(0, 60_000, 10)
    shown = series_of(Metric.CPU, buckets, starts)
    for start, avg, highest in zip(starts, shown.avg, shown.max, strict=True):
        is_measured = any(begin < start + 10 and begin + length > start for begin, length, _ in parts)
        assert (avg is not None) == (highest is not None) == is_measured
    assert set(series_of(Metric.MEMORY, buckets, starts).avg) == {None}


@given(_values, some.floats(0.1, 100), some.floats(0.1, 100))
def test_a_mean_of_equal_values_is_that_value(value: float, one_s: float, other_s: float) -> None:
    assert Mean(value, value, one_s).merged(Mean(value, value, other_s)).avg == value


def _two(first: Reading, second: Reading) -> list[Stretch]:
    return list(stretches(Seen("").then(first), second, wall_s=1_000_000.0))


def test_two_readings_give_rates_and_values() -> None:
    first = Reading("a", 100, {Metric.CPU: 5.0, Metric.DISK_READ: 1000}, {Metric.MEMORY: 7})
    second = Reading("a", 110, {Metric.CPU: 7.5, Metric.DISK_READ: 1500}, {Metric.MEMORY: 9})
    assert _two(first, second) == [
        Stretch(Metric.CPU, 999_990, 1_000_000, 25),
        Stretch(Metric.DISK_READ, 999_990, 1_000_000, 50),
        Stretch(Metric.MEMORY, 999_990, 1_000_000, 9),
    ]


def test_nothing_is_told_of_what_began_anew_or_lies_too_far_apart() -> None:
    first = Reading("a", 100, {Metric.CPU: 5.0})
    assert _two(first, Reading("b", 110, {Metric.CPU: 6.0})) == []
    assert _two(first, Reading("a", 110, {Metric.CPU: 4.0})) == []
    assert _two(first, Reading("a", 100, {Metric.CPU: 6.0})) == []
    assert _two(first, Reading("a", 101 + LONGEST_STRETCH_S, {Metric.CPU: 6.0})) == []
    assert list(stretches(None, first, 0)) == []


def test_a_counter_that_is_asked_less_often_is_told_since_it_was_asked() -> None:
    seen = Seen("").then(Reading("a", 100, {Metric.CPU: 1.0, Metric.DISK_READ: 100}))
    seen = seen.then(Reading("a", 110, {Metric.CPU: 2.0}))
    told = list(stretches(seen, Reading("a", 120, {Metric.CPU: 2.5, Metric.DISK_READ: 300}), 1000))
    assert told == [Stretch(Metric.CPU, 990, 1000, 5), Stretch(Metric.DISK_READ, 980, 1000, 10)]


@given(some.lists(some.floats(0, 1e6), min_size=2, max_size=20))
def test_what_a_counter_counts_is_what_its_rates_come_to(increments: list[float]) -> None:
    """As long as it is not reset."""
    seen, total, rates = Seen(""), 0.0, 0.0
    for number, increment in enumerate(increments):
        total += increment
        reading = Reading("a", 10.0 * number, {Metric.DISK_READ: total})
        rates += sum(one.value * 10 for one in stretches(seen, reading, 0))
        seen = seen.then(reading)
    assert rates == pytest.approx(math.fsum(increments[1:]), rel=1e-6, abs=1e-3)


def test_the_finest_step_that_is_kept_and_fits() -> None:
    assert finest(_HOUR_S, _HOUR_S, 400) == (RESOLUTIONS[0], 10)
    assert finest(_HOUR_S, _HOUR_S, 60) == (RESOLUTIONS[1], 60)
    assert finest(24 * _HOUR_S, _HOUR_S, 400) == (RESOLUTIONS[1], 60)
    assert finest(7 * 24 * _HOUR_S, 7 * 24 * _HOUR_S, 2100) == (RESOLUTIONS[2], 300)
    resolution, step_s = finest(366 * 86400, 366 * 86400, 400)
    assert (resolution, step_s) == (RESOLUTIONS[3], 22 * _HOUR_S)


def test_a_step_is_made_of_the_coarsest_resolution_that_divides_it() -> None:
    assert [coarsest_within(step_s) for step_s in (10, 20, 60, 120, 600, 7200)] == [
        *(RESOLUTIONS[0], RESOLUTIONS[0], RESOLUTIONS[1], RESOLUTIONS[1]),
        *(RESOLUTIONS[2], RESOLUTIONS[3]),
    ]
    assert coarsest_within(15) is coarsest_within(0) is coarsest_within(-10) is None


def test_what_is_old_is_not_now() -> None:
    old, new = Stretch(Metric.CPU, 0, 10, 1), Stretch(Metric.MEMORY, 90, 100, 2)
    assert newest({Metric.CPU: old}, [new], 100) == {Metric.CPU: old, Metric.MEMORY: new}
    assert newest({Metric.CPU: old}, [new], 100 + LONGEST_STRETCH_S) == {Metric.MEMORY: new}

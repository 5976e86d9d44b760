from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, DiskFull
from insula.control.store import Histories
from insula.control.store.engine import Database
from insula.domain.history import GONE_KEPT_S, RESOLUTIONS, Metric, Reading

_FINE, _MINUTES, _FIVES, _HOURS = RESOLUTIONS
_BEGIN_S = 1_700_000_400.0  # the beginning of five minutes


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[Histories]:
    opened = await Histories.open(tmp_path / "history.sqlite")
    yield opened
    await opened.close()


def _measure(histories: Histories, begin_s: float, looks: int, *, each_s: float = 10.0, cpu: float = 0.5) -> None:
    """So many looks, each `each_s` after the last, at a machine that uses this share of a processor."""
    for number in range(looks):
        at_s = begin_s + number * each_s
        reading = Reading("one", at_s, {Metric.CPU: at_s * cpu}, {Metric.MEMORY: 1000.0})
        histories.note("ins_1", "default", reading, at_s)


async def test_what_was_measured_is_there_in_every_resolution(histories: Histories) -> None:
    _measure(histories, _BEGIN_S, 31)
    for resolution, count in ((_FINE, 30), (_MINUTES, 5), (_FIVES, 1)):
        found = await histories.read("ins_1", resolution, _BEGIN_S, _BEGIN_S + 300)
        assert len(found) == count
        means = [each[Metric.CPU] for each in found.values()]
        assert sum(mean.avg * mean.seconds for mean in means) == pytest.approx(300 * 50, rel=1e-4)
        assert {round(mean.max, 3) for mean in means} == {50}
        assert {each[Metric.MEMORY].avg for each in found.values()} == {1000}
    assert await histories.read("ins_2", _FINE, _BEGIN_S, _BEGIN_S + 300) == {}


async def test_parts_of_a_step_that_are_written_one_after_the_other_come_together(histories: Histories) -> None:
    for number in range(31):
        _measure(histories, _BEGIN_S + number * 10, 1)
        if number % 3 == 0:
            await histories.flush()
    (only,) = (await histories.read("ins_1", _FIVES, _BEGIN_S, _BEGIN_S + 300)).values()
    assert only[Metric.CPU].seconds == pytest.approx(300)
    assert only[Metric.CPU].avg == pytest.approx(50, rel=1e-5)


async def test_history_outlives_the_service_and_a_short_absence_costs_nothing(tmp_path: Path) -> None:
    first = await Histories.open(tmp_path / "history.sqlite")
    _measure(first, _BEGIN_S, 4)
    await first.flush()  # and then it is killed
    again = await Histories.open(tmp_path / "history.sqlite")
    _measure(again, _BEGIN_S + 90, 2)
    found = await again.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100)
    assert len(found) == 10
    assert sum(each[Metric.CPU].avg * each[Metric.CPU].seconds for each in found.values()) == pytest.approx(100 * 50)
    await again.close()
    await first._database.close()


async def test_a_long_absence_is_a_gap(histories: Histories) -> None:
    _measure(histories, _BEGIN_S, 2)
    _measure(histories, _BEGIN_S + 400, 2)
    found = await histories.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 500)
    assert sorted(found) == [_BEGIN_S, _BEGIN_S + 400]


async def test_what_is_old_goes_and_the_file_does_not_grow(tmp_path: Path, histories: Histories) -> None:
    sizes = []
    for day in range(3):
        begin_s = _BEGIN_S + day * 86400
        for hour in range(24):
            _measure(histories, begin_s + hour * 3600, 121, each_s=30)
            await histories.flush()
            await histories.prune(["ins_1"], begin_s + (hour + 1) * 3600, begin_s + (hour + 1) * 3600)
        sizes.append((tmp_path / "history.sqlite").stat().st_size)
    now_s = _BEGIN_S + 3 * 86400
    fine = await histories.read("ins_1", _FINE, 0, now_s)
    assert min(fine) >= now_s - _FINE.kept_s - 2 * _FINE.step_s
    minutes = await histories.read("ins_1", _MINUTES, 0, now_s)
    assert now_s - 86400 - 120 <= min(minutes) <= now_s - 86400
    assert len(await histories.read("ins_1", _HOURS, 0, now_s)) == 3 * 24 + 1
    # Of the days that come now only hours and, for a week, five minutes are added.
    assert sizes[2] - sizes[1] < 200_000


async def test_nothing_is_forgotten_while_the_clock_jumps(histories: Histories) -> None:
    _measure(histories, _BEGIN_S, 3)
    await histories.flush()
    await histories.prune(["ins_1"], _BEGIN_S, 0)
    year_s = 400 * 86400
    await histories.prune(["ins_1"], _BEGIN_S + year_s, 600)
    assert await histories.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100) != {}
    await histories.prune(["ins_1"], _BEGIN_S + year_s + 600, 1200)
    assert await histories.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100) == {}


async def test_a_clock_that_is_set_back_costs_nothing_but_its_time(histories: Histories) -> None:
    _measure(histories, _BEGIN_S, 4)
    for number in range(1, 4):  # the same machine goes on; the wall clock shows an hour less
        at_s = _BEGIN_S + 30 + number * 10
        histories.note("ins_1", "default", Reading("one", at_s, {Metric.CPU: at_s * 0.5}), at_s - 3600)
    found = await histories.read("ins_1", _FINE, _BEGIN_S - 7200, _BEGIN_S + 100)
    assert len(found) == 6
    assert {round(each[Metric.CPU].avg, 2) for each in found.values()} == {50}


async def test_an_instance_that_is_gone_is_forgotten_after_some_days(histories: Histories) -> None:
    _measure(histories, _BEGIN_S, 3)
    await histories.flush()
    for passed_s in (0.0, 600.0):
        await histories.prune([], _BEGIN_S + passed_s, passed_s)
    assert histories.project_of("ins_1") == "default"
    for passed_s in (GONE_KEPT_S + 600.0, GONE_KEPT_S + 1800.0):
        await histories.prune([], _BEGIN_S + passed_s, passed_s)
    assert histories.project_of("ins_1") is None
    assert await histories.read("ins_1", _HOURS, 0, _BEGIN_S * 2) == {}


async def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"no database at all" * 1000)
    opened = await Histories.open(path)
    _measure(opened, _BEGIN_S, 3)
    assert len(await opened.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100)) == 2
    assert (tmp_path / "history.sqlite.damaged").read_bytes().startswith(b"no database")
    await opened.close()


async def test_a_full_disk_costs_nothing_that_fits_in_an_hour(
    histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        async def full(*_: object, **__: object) -> None:
            raise DiskFull("The database cannot grow")

        patch.setattr(histories._database, "write", full)
        _measure(histories, _BEGIN_S, 3)
        await histories.flush()
        _measure(histories, _BEGIN_S + 30, 3)
        await histories.flush()
    assert len(await histories.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100)) == 5


async def test_use_is_what_was_measured_last(histories: Histories) -> None:
    assert histories.use("ins_1", "web1").values == {}
    _measure(histories, _BEGIN_S, 3)
    found = histories.use("ins_1", "web1")
    assert found.values == pytest.approx({Metric.CPU: 50, Metric.MEMORY: 1000})
    assert found.totals[Metric.CPU] == pytest.approx((_BEGIN_S + 20) * 0.5)
    assert found.at is not None
    assert found.at.timestamp() == _BEGIN_S + 20


async def test_a_file_that_cannot_be_opened_now_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await Histories.open(tmp_path / "history.sqlite")
    _measure(first, _BEGIN_S, 3)
    await first.close()
    with monkeypatch.context() as patch:

        async def full(*_: object, **__: object) -> None:
            raise DiskFull("The database cannot grow")

        patch.setattr(Database, "write", full)
        again = await Histories.open(tmp_path / "history.sqlite")
        _measure(again, _BEGIN_S + 600, 2)
        await again.flush()
    assert sorted(await again.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 700)) == [
        *(_BEGIN_S, _BEGIN_S + 10, _BEGIN_S + 600),
    ]
    await again.close()


async def test_a_folder_that_cannot_be_used_costs_history_only(tmp_path: Path) -> None:
    (tmp_path / "control").touch()
    opened = await Histories.open(tmp_path / "control" / "history.sqlite")
    _measure(opened, _BEGIN_S, 3)
    await opened.flush()
    (tmp_path / "control").unlink()
    assert len(await opened.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100)) == 2
    await opened.close()


async def test_a_file_that_is_damaged_meanwhile_is_begun_anew(histories: Histories, tmp_path: Path) -> None:
    _measure(histories, _BEGIN_S, 3)
    await histories.flush()
    with file_is_damaged(histories):
        _measure(histories, _BEGIN_S + 30, 3)
        await histories.flush()
    found = await histories.read("ins_1", _FINE, _BEGIN_S, _BEGIN_S + 100)
    assert sorted(found) == [_BEGIN_S + 20, _BEGIN_S + 30, _BEGIN_S + 40]
    assert (tmp_path / "history.sqlite.damaged").exists()


@contextmanager
def file_is_damaged(histories: Histories) -> Iterator[None]:
    """The present file is found damaged by the next write."""

    async def damaged(*_: object, **__: object) -> None:
        raise DataCorrupt("The database file is damaged")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories._database, "write", damaged)
        yield

"""What is measured of Linodes, as their manager's graphs show it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from insula.base.errors import InvalidInput
from insula.control.actions.history import Span
from insula.domain.history import History, Metric, Series
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT
from insula.frontends.dialects.linode.find import linode_of

_PLACE = "/linode/instances/{linode}/stats"
_DAY_S, _STEP_S = 86400, 300
_FIRST_YEAR, _LAST_YEAR = 2000, 2037


@DIALECT.operation("GET", _PLACE, "linodes.stats")
async def get_stats(ask: Ask) -> Answer:
    """Of the last 24 hours, by five minutes."""
    instance = await linode_of(ask)
    now_s = datetime.now(UTC).timestamp()
    span = Span(datetime.fromtimestamp(now_s - _DAY_S, UTC), step_s=_STEP_S)
    return _stats(ask, "day", await ask.actions.history.of_instance(ask.caller, instance.id, span))


@DIALECT.operation("GET", f"{_PLACE}/{{year}}/{{month}}", "linodes.stats-month")
async def get_stats_of_month(ask: Ask) -> Answer:
    """Of a month, in steps that fit; of one that lies too far back nothing is kept."""
    instance = await linode_of(ask)
    begin, end = _month(ask.path["year"], ask.path["month"])
    found = await ask.actions.history.of_instance(ask.caller, instance.id, Span(begin, end))
    return _stats(ask, f"{begin:%Y-%m}", found)


def _stats(ask: Ask, time: str, history: History) -> Answer:
    series = {one.metric: one for one in history.series}

    def points(metric: Metric, factor: float = 1.0) -> list[list[float]]:
        return _points(history, series[metric], factor)

    operations = _sums(points(Metric.DISK_READS), points(Metric.DISK_WRITES))
    # What is counted at the cards is not told apart by protocol, nor by whom it goes to.
    flows = {
        "in": points(Metric.NETWORK_RECEIVED, 8),
        "out": points(Metric.NETWORK_SENT, 8),
        "private_in": [],
        "private_out": [],
    }
    nothing: dict[str, list[Any]] = {name: [] for name in flows}
    data = {
        "cpu": points(Metric.CPU),
        "io": {"io": operations, "swap": []},
        "netv4": flows,
        "netv6": nothing,
    }
    return Answer({"title": f"linode - {ask.path['linode']} ({time})", "data": data})


def _points(history: History, series: Series, factor: float) -> list[list[float]]:
    pairs = zip(history.times, series.avg, strict=True)
    return [[int(at.timestamp() * 1000), round(value * factor, 3)] for at, value in pairs if value is not None]


def _sums(one: list[list[float]], other: list[list[float]]) -> list[list[float]]:
    more = {point[0]: point[1] for point in other}
    return [[at, round(value + more[at], 3)] for at, value in one if at in more]


def _month(year: str, month: str) -> tuple[datetime, datetime]:
    is_month = year.isascii() and year.isdigit() and month.isascii() and month.isdigit() and len(year + month) <= 6
    if not is_month or not _FIRST_YEAR <= int(year) <= _LAST_YEAR or not 1 <= int(month) <= 12:
        raise InvalidInput("There is no such month", why=f"It is {year[:10]}/{month[:10]}", todo="Send another")
    begin = datetime(int(year), int(month), 1, tzinfo=UTC)
    return begin, datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=UTC)

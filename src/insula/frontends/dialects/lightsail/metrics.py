"""What is measured of instances: their processors, and the bytes of their network cards.

Bytes of periods of an hour and more are what was counted in whole hours; all else comes from history, by five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput
from insula.control.actions.history import Span
from insula.domain.history import RESOLUTIONS, Metric, reaches
from insula.domain.instance import Instance
from insula.domain.traffic import KEPT_DAYS, Counts, hour_of
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import answer, operation, when
from insula.frontends.dialects.lightsail.instances import Which
from insula.frontends.dialects.lightsail.resource import instance

_MEASURED: Mapping[str, Callable[[Counts], int]] = {
    "NetworkIn": lambda counts: counts.received_bytes,
    "NetworkOut": lambda counts: counts.sent_bytes,
}
_HISTORY = {
    "CPUUtilization": Metric.CPU,
    "NetworkIn": Metric.NETWORK_RECEIVED,
    "NetworkOut": Metric.NETWORK_SENT,
}
_OTHERS = frozenset(
    {
        *("StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System"),
        *("BurstCapacityTime", "BurstCapacityPercentage", "MetadataNoToken"),
        *("DiskReadOps", "DiskWriteOps", "DiskReadBytes", "DiskWriteBytes", "DiskTotalReadTime"),
    }
)
_HOUR_S, _DAY_S = 3600, 24 * 3600
_BY_FIVE_MINUTES, _BY_HOURS = RESOLUTIONS[-2:]
_STATISTICS = {"Sum": "sum", "Average": "average", "Minimum": "minimum", "Maximum": "maximum"}


class _Wish(Which):
    metric_name: str
    period: int
    start_time: float
    end_time: float
    unit: str = "Bytes"
    statistics: tuple[str, ...] = ()


@operation("GetInstanceMetricData")
async def get_instance_metric_data(ask: Ask) -> Answer:
    """Of periods of five minutes or more; what is not measured has no values."""
    wish = ask.read(_Wish)
    instance_there = (await instance(ask, wish.instance_name)).thing
    if wish.metric_name not in _HISTORY and wish.metric_name not in _OTHERS:
        raise InvalidInput(
            f"There is no metric {wish.metric_name[:40]}",
            why=f"There are {', '.join(sorted({*_HISTORY, *_OTHERS}))}",
            todo="Choose one of them",
            fields={"metricName": "unknown"},
        )
    begin, end = _moment(wish.start_time), _moment(wish.end_time)
    if begin >= end or not 1 <= wish.period <= _DAY_S:
        raise InvalidInput(
            "The time is not usable",
            why=f"startTime lies before endTime, and period is from 1 to {_DAY_S}",
            todo="Send others",
        )
    if wish.metric_name in _OTHERS or begin >= now_utc():
        return answer(metricName=wish.metric_name, metricData=[])
    if wish.metric_name in _MEASURED and wish.period >= _HOUR_S:
        step_s, samples = _HOUR_S, await _hours(ask, instance_there, wish.metric_name, (begin, end))
    else:
        step_s, samples = await _history(ask, instance_there, wish.metric_name, (begin, end))
    period_s = ceil(wish.period / step_s) * step_s
    places: dict[float, list[float]] = {}
    for at_s, value in samples:
        places.setdefault(at_s // period_s * period_s, []).append(value)
    unit = "Bytes" if wish.metric_name in _MEASURED else "Percent"
    return answer(
        metricName=wish.metric_name,
        metricData=[_view(place, values, wish.statistics, unit) for place, values in sorted(places.items())],
    )


async def _hours(ask: Ask, of: Instance, name: str, time: tuple[datetime, datetime]) -> list[tuple[float, float]]:
    """What each hour brought."""
    begin, end = time
    hours = ceil((now_utc() - begin) / timedelta(hours=1)) + 1
    traffic = await ask.actions.traffic.show(ask.caller, of.id, min(max(hours, 1), KEPT_DAYS * 24))
    count = _MEASURED[name]
    return [(one.hour.timestamp(), count(one.counts)) for one in traffic.hours if hour_of(begin) <= one.hour < end]


async def _history(
    ask: Ask, of: Instance, name: str, time: tuple[datetime, datetime]
) -> tuple[int, list[tuple[float, float]]]:
    """What each five minutes brought, or each hour where those are not kept; the length of these steps."""
    begin, end = time
    is_kept = reaches(_BY_FIVE_MINUTES, (now_utc() - begin).total_seconds())
    step_s = (_BY_FIVE_MINUTES if is_kept else _BY_HOURS).step_s
    found = await ask.actions.history.of_instance(ask.caller, of.id, Span(begin, end, step_s, metrics=[_HISTORY[name]]))
    (series,) = found.series
    values = [
        (moment.timestamp(), mean * seconds if name in _MEASURED else mean / of.resources.vcpus)
        for moment, mean, seconds in zip(found.times, series.avg, series.seconds, strict=True)
        if mean is not None
    ]
    return step_s, values


def _view(place: float, values: list[float], wanted: Sequence[str], unit: str) -> dict[str, Any]:
    of = {"Sum": sum(values), "Average": sum(values) / len(values), "Minimum": min(values), "Maximum": max(values)}
    shown: dict[str, Any] = {_STATISTICS[name]: float(of[name]) for name in wanted if name in of}
    if "SampleCount" in wanted:
        shown["sampleCount"] = float(len(values))
    return shown | {"timestamp": when(datetime.fromtimestamp(place, UTC)), "unit": unit}


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(
            "The time is not usable", why=f"{seconds:g} is no number of seconds since 1970", todo="Send another"
        ) from error

"""What is measured of instances: the bytes of their network cards, hour by hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from insula.base.clock import now_utc
from insula.base.errors import InvalidInput
from insula.domain.traffic import KEPT_DAYS, Counts, hour_of
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import answer, operation, when
from insula.frontends.dialects.lightsail.instances import Which
from insula.frontends.dialects.lightsail.resource import instance

_MEASURED: Mapping[str, Callable[[Counts], int]] = {
    "NetworkIn": lambda counts: counts.received_bytes,
    "NetworkOut": lambda counts: counts.sent_bytes,
}
_OTHERS = frozenset(
    {
        *("CPUUtilization", "StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System"),
        *("BurstCapacityTime", "BurstCapacityPercentage", "MetadataNoToken"),
        *("DiskReadOps", "DiskWriteOps", "DiskReadBytes", "DiskWriteBytes", "DiskTotalReadTime"),
    }
)
_HOUR_S, _DAY_S = 3600, 24 * 3600
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
    """Sums of periods of an hour or more; what is not measured has no values."""
    wish = ask.read(_Wish)
    found = await instance(ask, wish.instance_name)
    if wish.metric_name not in _MEASURED and wish.metric_name not in _OTHERS:
        raise InvalidInput(
            f"There is no metric {wish.metric_name[:40]}",
            why=f"There are {', '.join(sorted({*_MEASURED, *_OTHERS}))}",
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
    if wish.metric_name not in _MEASURED:
        return answer(metricName=wish.metric_name, metricData=[])
    hours = ceil((now_utc() - begin) / timedelta(hours=1)) + 1
    traffic = await ask.actions.traffic.show(ask.caller, found.thing.id, min(max(hours, 1), KEPT_DAYS * 24))
    count, sums = _MEASURED[wish.metric_name], dict[float, list[int]]()
    period_s = ceil(wish.period / _HOUR_S) * _HOUR_S
    for one in traffic.hours:
        if hour_of(begin) <= one.hour < end:
            place = one.hour.timestamp() // period_s * period_s
            sums.setdefault(place, []).append(count(one.counts))
    return answer(
        metricName=wish.metric_name,
        metricData=[_view(place, values, wish.statistics) for place, values in sorted(sums.items())],
    )


def _view(place: float, values: list[int], wanted: Sequence[str]) -> dict[str, Any]:
    """A value is what one hour brought."""
    of = {"Sum": sum(values), "Average": sum(values) / len(values), "Minimum": min(values), "Maximum": max(values)}
    shown: dict[str, Any] = {_STATISTICS[name]: float(of[name]) for name in wanted if name in of}
    if "SampleCount" in wanted:
        shown["sampleCount"] = float(len(values))
    return shown | {"timestamp": when(datetime.fromtimestamp(place, UTC)), "unit": "Bytes"}


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(
            "The time is not usable", why=f"{seconds:g} is no number of seconds since 1970", todo="Send another"
        ) from error

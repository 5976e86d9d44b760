"""What is measured of droplets, as a matrix of the kind that Prometheus answers with.

The host measures processors and network. What only the guest's own agent would know has no values, as with a droplet
that has no such agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from insula.base.errors import InvalidInput
from insula.control.actions.history import Span
from insula.domain.history import History, Metric
from insula.domain.instance import Instance
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT
from insula.frontends.dialects.digitalocean.find import droplet

_PLACE = "/v2/monitoring/metrics/droplet"
_DIRECTIONS = {"inbound": Metric.NETWORK_RECEIVED, "outbound": Metric.NETWORK_SENT}
_INTERFACES = ("public", "private")
# The path's last part, and what the specification calls the operation.
_OF_THE_GUEST = (
    ("filesystem_free", "monitoring_get_dropletFilesystemFreeMetrics"),
    ("filesystem_size", "monitoring_get_dropletFilesystemSizeMetrics"),
    ("load_1", "monitoring_get_dropletLoad1Metrics"),
    ("load_5", "monitoring_get_dropletLoad5Metrics"),
    ("load_15", "monitoring_get_dropletLoad15Metrics"),
    ("memory_cached", "monitoring_get_dropletMemoryCachedMetrics"),
    ("memory_free", "monitoring_get_dropletMemoryFreeMetrics"),
    ("memory_total", "monitoring_get_dropletMemoryTotalMetrics"),
    ("memory_available", "monitoring_get_dropletMemoryAvailableMetrics"),
)


@DIALECT.operation("GET", f"{_PLACE}/cpu", "monitoring_get_DropletCpuMetrics")
async def get_cpu(ask: Ask) -> Answer:
    """Seconds of processors since the beginning of the time that was asked for, idle and at work; clients look at how
    they grow."""
    found, history = await _asked(ask, Metric.CPU)
    busy_s = idle_s = 0.0
    at_work: list[list[Any]] = []
    idle: list[list[Any]] = []
    series = history.series[0]
    for moment, percent, seconds in zip(history.times, series.avg, series.seconds, strict=True):
        if percent is None:
            continue
        busy_s += percent / 100 * seconds
        idle_s += max(0.0, found.resources.vcpus - percent / 100) * seconds
        at_work.append(_value(moment, busy_s))
        idle.append(_value(moment, idle_s))
    host = {"host_id": ask.query["host_id"]}
    rows = (({**host, "mode": "idle"}, idle), ({**host, "mode": "user"}, at_work))
    return _matrix([(labels, values) for labels, values in rows if values])


@DIALECT.operation("GET", f"{_PLACE}/bandwidth", "monitoring_get_dropletBandwidthMetrics")
async def get_bandwidth(ask: Ask) -> Answer:
    """In megabits per second; all of a droplet's cards together count as public."""
    interface, direction = ask.query.get("interface", ""), ask.query.get("direction", "")
    if interface not in _INTERFACES or direction not in _DIRECTIONS:
        raise InvalidInput(
            "interface or direction is missing or unknown",
            why=f"interface is one of {', '.join(_INTERFACES)}, direction one of {', '.join(_DIRECTIONS)}",
            todo="Send both",
        )
    _, history = await _asked(ask, _DIRECTIONS[direction])
    pairs = zip(history.times, history.series[0].avg, strict=True)
    values = [_value(moment, rate * 8 / 1e6) for moment, rate in pairs if rate is not None]
    labels = {"host_id": ask.query["host_id"], "interface": interface, "direction": direction}
    return _matrix([(labels, values)] if values and interface == "public" else [])


async def get_nothing(ask: Ask) -> Answer:
    """Of a droplet that is there."""
    await _asked(ask, Metric.CPU)
    return _matrix([])


async def _asked(ask: Ask, metric: Metric) -> tuple[Instance, History]:
    """The droplet, and its history in the time. Raises NotFound and InvalidInput."""
    span = Span(_moment(ask, "start"), _moment(ask, "end"), metrics=[metric])
    found = await droplet(ask, ask.query.get("host_id", ""))
    return found, await ask.actions.history.of_instance(ask.caller, found.id, span)


def _moment(ask: Ask, name: str) -> datetime:
    text = ask.query.get(name, "")
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(
            f"{name} is no time", why=f"{text[:40]!r} is no number of seconds since 1970", todo="Send one"
        ) from error


def _value(moment: datetime, number: float) -> list[Any]:
    return [int(moment.timestamp()), f"{number:.6g}" if number < 1 else f"{number:.3f}"]


def _matrix(rows: Sequence[tuple[Mapping[str, str], Sequence[Any]]]) -> Answer:
    result = [{"metric": labels, "values": values} for labels, values in rows]
    return Answer({"status": "success", "data": {"resultType": "matrix", "result": result}})


for _word, _name in _OF_THE_GUEST:
    DIALECT.operation("GET", f"{_PLACE}/{_word}", _name)(get_nothing)
EMPTY = frozenset(name for _, name in _OF_THE_GUEST)

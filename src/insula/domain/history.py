"""What instances and hosts use, measured every few seconds, and the arithmetic of its roll-ups.

Counters and gauges are read (:class:`Reading`); two readings of a counter give its mean rate over the stretch of time
between them. Stretches are cut into buckets of equal steps, whose means keep how long was measured: so they can be
merged into coarser ones without losing a sum, and what was not measured stays a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

MEASURED_EVERY_S = 10
# Counters go on counting while the service is away for a moment; what they show after longer says nothing of when.
LONGEST_STRETCH_S = 120.0
MOST_POINTS = 10_000
GONE_KEPT_S = 7 * 86400  # how long after its end an instance's history is kept


class Metric(StrEnum):
    """What is measured. Stored values are in this order: further ones go to the end."""

    CPU = "cpu_percent"  # of one core
    MEMORY = "memory_bytes"
    DISK_READ = "disk_read_bytes_per_s"
    DISK_WRITTEN = "disk_written_bytes_per_s"
    DISK_READS = "disk_reads_per_s"
    DISK_WRITES = "disk_writes_per_s"
    NETWORK_RECEIVED = "network_received_bytes_per_s"
    NETWORK_SENT = "network_sent_bytes_per_s"
    NETWORK_RECEIVED_PACKETS = "network_received_packets_per_s"
    NETWORK_SENT_PACKETS = "network_sent_packets_per_s"
    DISK_USED = "disk_used_bytes"
    LOAD = "load_1m"


OF_INSTANCES = tuple(metric for metric in Metric if metric not in {Metric.DISK_USED, Metric.LOAD})
OF_HOSTS = tuple(Metric)
UNITS: Mapping[Metric, str] = {
    Metric.CPU: "percent of a core",
    Metric.MEMORY: "bytes",
    Metric.DISK_USED: "bytes",
    Metric.LOAD: "processes",
    Metric.DISK_READS: "operations per second",
    Metric.DISK_WRITES: "operations per second",
    Metric.NETWORK_RECEIVED_PACKETS: "packets per second",
    Metric.NETWORK_SENT_PACKETS: "packets per second",
    Metric.DISK_READ: "bytes per second",
    Metric.DISK_WRITTEN: "bytes per second",
    Metric.NETWORK_RECEIVED: "bytes per second",
    Metric.NETWORK_SENT: "bytes per second",
}
# What a rate is multiplied by: seconds of a processor in a second are percent of a core.
_FACTORS = {Metric.CPU: 100.0}


@dataclass(frozen=True)
class Resolution:
    """How fine history is kept, and for how long."""

    step_s: int
    kept_s: int


RESOLUTIONS = (
    Resolution(MEASURED_EVERY_S, 3600),
    Resolution(60, 86400),
    Resolution(300, 7 * 86400),
    Resolution(3600, 366 * 86400),
)
_SLACK_S = 60  # who asks for the last hour asks a moment later for a little more


@dataclass(frozen=True)
class Reading:
    """What was shown at one moment, by a clock that never jumps.

    `counters` only grow while `epoch` stays: that of CPU in seconds, others in bytes, operations and packets. One that
    was not asked this time is left out.
    """

    epoch: str
    at_s: float
    counters: Mapping[Metric, float] = field(default_factory=dict)
    gauges: Mapping[Metric, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """When each metric was read last, and what it showed."""

    epoch: str
    values: Mapping[Metric, tuple[float, float]] = field(default_factory=dict)

    def then(self, now: Reading) -> Seen:
        """What is known after a further reading."""
        fresh = {metric: (now.at_s, value) for metric, value in {**now.counters, **now.gauges}.items()}
        return Seen(now.epoch, {**(self.values if self.epoch == now.epoch else {}), **fresh})


@dataclass(frozen=True)
class Stretch:
    """The mean of a metric over a stretch of time, in seconds since 1970."""

    metric: Metric
    begin_s: float
    end_s: float
    value: float


def stretches(before: Seen | None, now: Reading, wall_s: float) -> Iterator[Stretch]:
    """What two readings tell of the time between them; `wall_s` is the wall clock's at the second one.

    Nothing of the first reading of an epoch, nor after too long, nor of a counter that shows less than before: it has
    begun anew, or a part of what it counted is gone.
    """
    if before is None or before.epoch != now.epoch:
        return
    for metric, value in {**now.counters, **now.gauges}.items():
        if metric not in before.values:
            continue
        at_s, old = before.values[metric]
        length_s = now.at_s - at_s
        if not 0 < length_s <= LONGEST_STRETCH_S:
            continue
        if metric in now.gauges:
            yield Stretch(metric, wall_s - length_s, wall_s, value)
        elif value >= old:
            rate = (value - old) / length_s * _FACTORS.get(metric, 1.0)
            yield Stretch(metric, wall_s - length_s, wall_s, rate)


@dataclass(frozen=True)
class Mean:
    """A mean over `seconds` that were measured, and the highest of the means that it was made of."""

    avg: float
    max: float
    seconds: float

    def merged(self, other: Mean) -> Mean:
        """Of both together."""
        seconds = self.seconds + other.seconds
        # Not sum by seconds: a mean of equal values is that value, whatever floating-point numbers make of it.
        avg = self.avg + (other.avg - self.avg) * (other.seconds / seconds)
        return Mean(avg, max(self.max, other.max), seconds)


# By the beginnings of their steps, in seconds since 1970.
Means = Mapping[Metric, Mean]
Buckets = Mapping[int, Means]


def cut(stretch: Stretch, step_s: int) -> Iterator[tuple[int, Mean]]:
    """A stretch in buckets: the beginnings of their steps, with the parts that lie in them."""
    start = math.floor(stretch.begin_s / step_s) * step_s
    while start < stretch.end_s:
        seconds = min(stretch.end_s, start + step_s) - max(stretch.begin_s, start)
        if seconds > 0:
            yield start, Mean(stretch.value, stretch.value, seconds)
        start += step_s


def both(one: Means, other: Means) -> Means:
    """The means of the same bucket from two sources."""
    found = dict(one)
    for metric, mean in other.items():
        found[metric] = found[metric].merged(mean) if metric in found else mean
    return found


def roll_up(buckets: Buckets, step_s: int) -> Buckets:
    """The same in coarser steps."""
    found: dict[int, Means] = {}
    for start, means in buckets.items():
        place = start // step_s * step_s
        found[place] = both(found[place], means) if place in found else means
    return found


@dataclass(frozen=True)
class Series:
    """One metric by the steps of a history; None where nothing was measured.

    `max` is the highest mean over ten seconds within a step; `seconds` tells how long of each was measured.
    """

    metric: Metric
    unit: str
    avg: tuple[float | None, ...]
    max: tuple[float | None, ...]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class History:
    """What an instance, or a node, used. `times` are the beginnings of steps, without holes."""

    subject: str
    step_s: int
    times: tuple[datetime, ...]
    series: tuple[Series, ...]


def series_of(metric: Metric, buckets: Buckets, starts: Sequence[int]) -> Series:
    """What the buckets tell of a metric at these beginnings."""
    means = [buckets.get(start, {}).get(metric) for start in starts]
    return Series(
        metric,
        UNITS[metric],
        tuple(None if mean is None else mean.avg for mean in means),
        tuple(None if mean is None else mean.max for mean in means),
        tuple(0.0 if mean is None else mean.seconds for mean in means),
    )


def finest(age_s: float, span_s: float, points: int) -> tuple[Resolution, int]:
    """The finest resolution that reaches `age_s` back, and the step that shows `span_s` in so many points at most."""
    for resolution in RESOLUTIONS:
        if age_s <= resolution.kept_s + _SLACK_S and span_s <= points * resolution.step_s:
            return resolution, resolution.step_s
    coarsest = RESOLUTIONS[-1]
    return coarsest, math.ceil(span_s / points / coarsest.step_s) * coarsest.step_s


def coarsest_within(step_s: int) -> Resolution | None:
    """The resolution that a step is made of with the fewest buckets; None for one that cannot be made."""
    fitting = [resolution for resolution in RESOLUTIONS if step_s > 0 and step_s % resolution.step_s == 0]
    return fitting[-1] if fitting else None


def reaches(resolution: Resolution, age_s: float) -> bool:
    """Whether it is kept for as long."""
    return age_s <= resolution.kept_s + _SLACK_S


def starts_of(since_s: float, until_s: float, step_s: int) -> range:
    """The beginnings of the steps that lie in a time, those included that only partly do."""
    return range(math.floor(since_s / step_s) * step_s, math.ceil(until_s / step_s) * step_s, step_s)


@dataclass(frozen=True)
class Use:
    """What an instance or a node uses now: the newest values, and what its counters show."""

    id: str
    name: str
    at: datetime | None = None
    values: Mapping[Metric, float] = field(default_factory=dict)
    totals: Mapping[Metric, float] = field(default_factory=dict)


def newest(before: Mapping[Metric, Stretch], fresh: Iterable[Stretch], wall_s: float) -> Mapping[Metric, Stretch]:
    """The last stretch of each metric, as long as it is not too old to tell of now."""
    found = {metric: one for metric, one in before.items() if 0 <= wall_s - one.end_s <= LONGEST_STRETCH_S}
    return found | {one.metric: one for one in fresh}


def node_subject(node: str) -> str:
    """What the history of a node is kept by."""
    return f"node:{node}"

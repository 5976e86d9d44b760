"""What instances send and receive at their network cards, hour by hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

KEPT_DAYS = 400


@dataclass(frozen=True)
class Counts:
    """As the instance sees it, whoever was at the other end; bytes are those of IP packets."""

    sent_bytes: int = 0
    sent_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(mine + others for mine, others in zip(self.values, other.values, strict=True)))

    def since(self, before: Counts) -> Counts:
        """What has come since; everything where a counter has begun anew."""
        pairs = list(zip(self.values, before.values, strict=True))
        if any(now < then for now, then in pairs):
            return self
        return Counts(*(now - then for now, then in pairs))

    @property
    def values(self) -> tuple[int, int, int, int]:
        return (self.sent_bytes, self.sent_packets, self.received_bytes, self.received_packets)


@dataclass(frozen=True)
class Reading:
    """What a card's counters showed. `epoch` is another one when they have begun anew."""

    project: str
    instance_id: str
    port_id: str
    epoch: str
    counts: Counts


@dataclass(frozen=True)
class HourTraffic:
    """One hour of an instance, named by its beginning."""

    hour: datetime
    counts: Counts


@dataclass(frozen=True)
class InstanceTraffic:
    """From `since` until now: the sum, and the hours in which there was any, in order."""

    instance_id: str
    since: datetime
    total: Counts
    hours: Sequence[HourTraffic]


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour."""
    return moment.replace(minute=0, second=0, microsecond=0)

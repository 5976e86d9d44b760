"""Plans: size and price of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from insula.base.errors import InvalidInput


class Band(StrEnum):
    MICRO = "micro"
    ENTRY = "entry"
    MIDDLE = "middle"
    HIGH = "high"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True)
class Plan:
    """What an instance gets.

    `vcpus` is what the guest sees; `cpu_percent` the most it may use, in percent of one host core (100 per vCPU unless
    the plan is a fraction of a core); `cpu_weight` its share when the host is busy (cgroup v2 scale, 1 to 10000).
    `disk_mbps` and `network_mbps` are limits in megabytes per second and megabits per second, `network_pps` in packets
    per second; those of the network hold for each direction. 0 means unlimited.
    """

    name: str
    band: Band
    vcpus: int
    memory_mib: int
    disk_gib: int
    cpu_percent: int
    cpu_weight: int = 100
    disk_iops: int = 0
    disk_mbps: int = 0
    network_mbps: int = 0
    network_pps: int = 0


_PACKETS_PER_MBIT = 2 * 1_000_000 // (8 * 1500)


def _plan(name: str, band: Band, vcpus: int, memory_gib: float, disk_gib: int, **limits: int) -> Plan:
    limits.setdefault("cpu_percent", 100 * vcpus)
    # Twice as many as its bandwidth would be in full frames: only floods of small packets meet this limit.
    limits.setdefault("network_pps", _PACKETS_PER_MBIT * limits.get("network_mbps", 0))
    return Plan(name, band, vcpus, int(memory_gib * 1024), disk_gib, **limits)


_PLANS = (
    _plan(
        "micro-1", Band.MICRO, 1, 0.25, 5, cpu_percent=25, cpu_weight=25, disk_iops=2000, disk_mbps=50, network_mbps=100
    ),
    _plan(
        "micro-2",
        Band.MICRO,
        1,
        0.5,
        10,
        cpu_percent=50,
        cpu_weight=50,
        disk_iops=3000,
        disk_mbps=100,
        network_mbps=250,
    ),
    _plan("entry-1", Band.ENTRY, 1, 1, 25, disk_iops=5000, disk_mbps=200, network_mbps=500),
    _plan("entry-2", Band.ENTRY, 2, 2, 50, disk_iops=5000, disk_mbps=200, network_mbps=1000),
    _plan("middle-2", Band.MIDDLE, 2, 4, 80, cpu_weight=200, disk_iops=10000, disk_mbps=400, network_mbps=2000),
    _plan("middle-4", Band.MIDDLE, 4, 8, 160, cpu_weight=200, disk_iops=10000, disk_mbps=400, network_mbps=2000),
    _plan("high-4", Band.HIGH, 4, 16, 200, cpu_weight=400, disk_iops=20000, disk_mbps=800, network_mbps=4000),
    _plan("high-8", Band.HIGH, 8, 32, 500, cpu_weight=400, disk_iops=20000, disk_mbps=800, network_mbps=4000),
    _plan("enterprise-8", Band.ENTERPRISE, 8, 64, 500, cpu_weight=800),
    _plan("enterprise-16", Band.ENTERPRISE, 16, 128, 1000, cpu_weight=800),
)

PLANS: Mapping[str, Plan] = {plan.name: plan for plan in _PLANS}
DEFAULT_PLAN = "entry-2"


def find_plan(name: str) -> Plan:
    """The plan of this name. Raises :class:`InvalidInput` that lists the names there are."""
    try:
        return PLANS[name]
    except KeyError:
        raise InvalidInput(
            f"There is no plan {name[:80]!r}",
            why=f"Plans are {', '.join(PLANS)}",
            todo="Choose one of them; `insula plan list` shows their sizes",
            code="unknown-plan",
            fields={"plan": "unknown plan"},
        ) from None

"""What the whole host uses, from what its kernel counts anyway. Source: proc(5), Linux admin-guide/iostats.rst."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from insula.base.clock import monotonic_s
from insula.domain.history import Metric, Reading
from insula.node.agent.host import available_memory_mib, disk_usage, memory_mib
from insula.node.agent.host_boot import host_boot_id

_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the disk's own is
_MIB = 1 << 20


def read(folder: Path) -> Reading:
    """Of this moment; `folder` is where disks of instances are. Blocking, for some tenths of a millisecond."""
    counters = {Metric.CPU: processor_s(Path("/proc/stat").read_text())}
    counters |= network_counts(Path("/proc/net/dev").read_text(), _ways_out())
    counters |= disk_counts(Path("/proc/diskstats").read_text(), _disks())
    total_bytes, _, free_bytes = disk_usage(folder)
    gauges = {
        Metric.MEMORY: float(max(0, memory_mib() - available_memory_mib()) * _MIB),
        Metric.DISK_USED: float(total_bytes - free_bytes),
        Metric.LOAD: os.getloadavg()[0],
    }
    return Reading(host_boot_id(), monotonic_s(), counters, gauges)


def processor_s(stat: str) -> float:
    """How long the processors have worked, all together, from the text of /proc/stat."""
    user, nice, system, _idle, _waiting, *others = (int(word) for word in stat.splitlines()[0].split()[1:])
    # Interrupts are work, what a hypervisor below took away is not; the time of guests is part of that of users.
    return (user + nice + system + sum(others[:2])) / os.sysconf("SC_CLK_TCK")


def network_counts(devices: str, ways_out: Iterable[str]) -> dict[Metric, float]:
    """What went through these devices, from the text of /proc/net/dev."""
    wanted, sums = set(ways_out), [0, 0, 0, 0]
    for line in devices.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() in wanted:
            fields = [int(number) for number in numbers.split()]
            sums = [old + fields[place] for old, place in zip(sums, (0, 1, 8, 9), strict=True)]
    names = (
        *(Metric.NETWORK_RECEIVED, Metric.NETWORK_RECEIVED_PACKETS),
        *(Metric.NETWORK_SENT, Metric.NETWORK_SENT_PACKETS),
    )
    return dict(zip(names, map(float, sums), strict=True))


def disk_counts(disks: str, wanted: Iterable[str]) -> dict[Metric, float]:
    """What these disks have read and written, from the text of /proc/diskstats; nothing when there is none of them."""
    names = set(wanted)
    rows = [fields for line in disks.splitlines() if (fields := line.split())[2] in names]
    if not rows:
        return {}
    reads, sectors_read, writes, sectors_written = (sum(int(row[place]) for row in rows) for place in (3, 5, 7, 9))
    return {
        Metric.DISK_READS: float(reads),
        Metric.DISK_READ: float(sectors_read * _SECTOR_BYTES),
        Metric.DISK_WRITES: float(writes),
        Metric.DISK_WRITTEN: float(sectors_written * _SECTOR_BYTES),
    }


def _ways_out() -> set[str]:
    """The devices that a default route leads through: what passes there is counted once, however it came there."""
    found = set()
    with contextlib.suppress(OSError):
        rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
        found |= {row[0] for row in rows if row[1] == row[7] == "00000000"}
    with contextlib.suppress(OSError):
        rows = [line.split() for line in Path("/proc/net/ipv6_route").read_text().splitlines()]
        found |= {row[9] for row in rows if row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo"}
    return found


def _disks() -> list[str]:
    """The host's whole disks; what is made of them, as partitions and volume groups, would count twice."""
    with contextlib.suppress(OSError):
        return [entry.name for entry in Path("/sys/block").iterdir() if (entry / "device").exists()]
    return []

"""What the host is: cores, memory, disk, what it can do and what it lacks."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from insula.node.hypervisor.driver import Driver
from insula.protocol.node import NodeReport

_GIB = 1024**3


async def describe(name: str, folder: Path, driver: Driver, missing: Mapping[str, str]) -> NodeReport:
    """The node as control sees it. Cheap enough to be asked often."""
    total_bytes, _, free_bytes = await asyncio.to_thread(disk_usage, folder)
    return NodeReport(
        name=name,
        cores=len(os.sched_getaffinity(0)),
        memory_mib=memory_mib(),
        disk_total_gib=total_bytes / _GIB,
        disk_free_gib=free_bytes / _GIB,
        accelerator=await driver.accelerator(),
        capabilities=_capabilities(driver, missing),
        missing=dict(missing),
    )


def disk_usage(folder: Path) -> tuple[int, int, int]:
    """Total, used and free bytes where the folder lies, or will lie when it does not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder)


def has_room(folder: Path) -> bool:
    """Whether guests may go on to write there: a percent of the disk, or 256 MiB if that is less, is free."""
    total_bytes, _, free_bytes = disk_usage(folder)
    return free_bytes >= min(total_bytes // 100, 256 << 20)


def _capabilities(driver: Driver, missing: Mapping[str, str]) -> tuple[str, ...]:
    found = [f"driver:{driver.name}", "port-forwards", "network-limits", "console", "exec"]
    return tuple(sorted(entry for entry in found if entry not in missing))


def memory_mib(meminfo: Path = Path("/proc/meminfo")) -> int:
    """The host's memory in MiB, as far as this process' control group may use it."""
    total = _field_kib(meminfo.read_text(), "MemTotal") // 1024
    limits = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    for limit in limits:
        try:
            text = limit.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text) // 1024**2)
    return total


def available_memory_mib(meminfo: Path = Path("/proc/meminfo")) -> int:
    """What new programs could get now."""
    return _field_kib(meminfo.read_text(), "MemAvailable") // 1024


def _field_kib(text: str, name: str) -> int:
    line = next((line for line in text.splitlines() if line.startswith(f"{name}:")), f"{name}: 0 kB")
    return int(line.split()[1])

"""Which boot of the host this is, so that a restarted host is told from a crashed machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def host_boot_id() -> str:
    """The kernel's random id of this boot; constant where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"

"""What a running service leaves in INSULA_HOME/run for those who start, stop and look for it.

`service.json` names the process by id and start time, so that nobody ever signals another process that got the same id
later. `service.lock` is held for as long as the service lives; it is the truth, the record only tells who.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from insula.base.files import write_atomic


@dataclass(frozen=True)
class ServiceRecord:
    """`start_ticks` is the process's start in clock ticks after the host's boot (field 22 of /proc/PID/stat)."""

    pid: int
    start_ticks: int
    listen: str
    version: str


def record_path(home: Path) -> Path:
    return home / "run" / "service.json"


def lock_path(home: Path) -> Path:
    return home / "run" / "service.lock"


def log_path(home: Path) -> Path:
    """Structured logs, rotated."""
    return home / "log" / "insula.log"


def start_log_path(home: Path) -> Path:
    """What the last started service printed outside its structured logs."""
    return home / "log" / "service-start.log"


def start_ticks_of(pid: int) -> int | None:
    """When a process started; None when there is none, or only its corpse."""
    try:
        # The name in brackets may hold anything, so count from its last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def write_record(home: Path, listen: str, version: str) -> None:
    """Record this very process."""
    ticks = start_ticks_of(os.getpid())
    record = ServiceRecord(os.getpid(), ticks or 0, listen, version)
    write_atomic(record_path(home), json.dumps(asdict(record)).encode(), mode=0o644)


def read_record(home: Path) -> ServiceRecord | None:
    """The service that runs in this home; None when there is none, however the last one ended."""
    try:
        record = ServiceRecord(**json.loads(record_path(home).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return record if start_ticks_of(record.pid) == record.start_ticks else None

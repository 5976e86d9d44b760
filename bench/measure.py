"""Medians, pairs and the one table that every measurement prints into."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table. `bar` is what is asked of the value, in the same words and unit."""

    what: str
    value: str
    bar: str = ""
    met: bool | None = None
    note: str = ""


def milliseconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def repeated(action: Callable[[], object], times: int, warm_up: int = 1) -> list[float]:
    """Milliseconds of each counted call."""
    for _ in range(warm_up):
        action()
    return [milliseconds(action) for _ in range(times)]


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """`median (min … max) unit`."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f}) {unit}"


def at_most(what: str, values: Sequence[float], bar: float, unit: str, note: str = "") -> Row:
    """A row whose median may not exceed `bar`."""
    digits = 0 if bar >= 10 else 2
    met = statistics.median(values) <= bar
    return Row(what, spread(values, unit, digits), f"≤ {bar:g} {unit}", met, note or f"n={len(values)}")


def at_least(what: str, values: Sequence[float], bar: float, unit: str, note: str = "") -> Row:
    """A row whose median may not fall below `bar`."""
    return Row(what, spread(values, unit), f"≥ {bar:g} {unit}", statistics.median(values) >= bar, note)


HEAD = "| what | median (min … max) | asked | met | note |\n|---|---|---|---|---|"


def line(row: Row) -> str:
    """The row as a line of the Markdown table under :data:`HEAD`."""
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    return f"| {row.what} | {row.value} | {row.bar} | {met} | {row.note} |"


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process (proc(5), statm, field 2)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def machines_below(home: Path) -> list[int]:
    """QEMU's processes whose folder lies below `home`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_qemu = (process / "comm").read_text().startswith("qemu-system")
            if is_qemu and (process / "cwd").readlink().is_relative_to(home):
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


def private_mib(pid: int) -> float:
    """Memory that no other process shares (proc(5), smaps_rollup, Private_Dirty)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1024

"""`python -m bench [NAME …]`: run all measurements, or those named, and print one table."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

from bench.measure import HEAD, line

# In order of what they need: nothing, a service with the fake driver, real machines.
NAMES = (
    "startup",
    "control",
    "listing",
    "dialects",
    "history",
    "rest",
    "limits",
    "network_limits",
    "networks",
    "cold",
    "instant",
    "fork",
    "disks",
    "backups",
    "density",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    print(f"{cores} cores, Linux {platform.release()}, Python {platform.python_version()}\n\n{HEAD}", flush=True)
    rows = []
    for name in names:
        for row in importlib.import_module(f"bench.{name}").measure():
            print(line(row), flush=True)
            rows.append(row)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

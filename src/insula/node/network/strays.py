"""Programs of networks that no record names: the service was killed between their start and its note of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from insula.base.log import get_logger
from insula.node.network import record
from insula.node.network.steward_link import MARKER
from insula.node.runtime.processes import Process

_log = get_logger(__name__)


def end_strays(top: Path) -> None:
    """End all programs of networks below `top` that no record names. Blocking; while nothing is made there."""
    for folder, process in _marked(top):
        with contextlib.closing(process):
            found = record.load(folder)
            known = {(entry.pid, entry.start_ticks) for entry in found.processes} if found is not None else set()
            if (process.pid, process.start_ticks) not in known:
                _log.warning("ending a program of a network that nobody knows", folder=str(folder), pid=process.pid)
                process.send(signal.SIGKILL)


def _marked(top: Path) -> Iterator[tuple[Path, Process]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                folder = _marker(entry)
                process = Process.hold(int(entry.name)) if folder is not None and folder.is_relative_to(top) else None
                if process is not None and folder is not None:
                    yield folder, process


def _marker(process: Path) -> Path | None:
    prefix = f"{MARKER}=".encode()
    variables = (process / "environ").read_bytes().split(b"\0")
    return next((Path(os.fsdecode(v.removeprefix(prefix))) for v in variables if v.startswith(prefix)), None)

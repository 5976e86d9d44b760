"""A private PostgreSQL for the tests: the distribution's programs, an own folder and port, loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

_PROGRAMS = Path("/usr/lib/postgresql")


def available() -> str:
    """Why there can be no private PostgreSQL here; empty when there can."""
    if not list(_PROGRAMS.glob("*/bin/initdb")):
        return "the package postgresql is not installed"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "setpriv (package util-linux) is missing, and PostgreSQL refuses to run as root"
    return ""


@contextlib.contextmanager
def private_postgres() -> Iterator[str]:
    """A running server's URL; stopped and removed at the end, also on Ctrl-C and SIGTERM."""
    programs = max(_PROGRAMS.glob("*/bin"), key=lambda path: float(path.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="insula-postgres-", dir="/tmp"))
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        port = _free_port()
        # Tests may lose everything at a power cut, so they need not wait for the disk.
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c synchronous_commit=off"
        _run([str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
        log = str(folder / "log")
        _run([str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", log, "-w", "-t", "60", "start"])
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run([str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "-t", "60", "stop"])
    finally:
        signal.signal(signal.SIGTERM, previous)
        shutil.rmtree(folder, ignore_errors=True)


def _run(argv: Sequence[str]) -> None:
    as_postgres: list[str] = []
    if os.geteuid() == 0:
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env"]
    # Its output goes to a file: a server that inherits a pipe would keep whoever reads that pipe waiting for ever.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [*as_postgres, *argv],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            output.seek(0)
            sys.stderr.write(output.read().decode("utf-8", "replace"))
            raise RuntimeError(f"{argv[0]} failed with exit status {done.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

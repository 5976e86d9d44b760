"""The service as a process of this host: start it and wait until it answers, stop it, examine the host without it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from insula.base.errors import DataCorrupt, HostFailure, InsulaError, Unavailable, from_dict
from insula.base.run import await_apart, detach, run
from insula.base.settings import SETTINGS, Settings
from insula.protocol.node import Check
from insula.protocol.service_record import ServiceRecord, log_path, read_record, start_log_path

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
_EXAMINE_TIMEOUT_S = 180.0
_SHOWN_LOG_LINES = 15
_SERVICE = (sys.executable, "-I", "-m", "insula.main")


def environment(settings: Settings) -> dict[str, str]:
    """The settings that the service must see as we do."""
    given = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    given.pop("INSULA_TOKEN", None)
    return given | {"INSULA_HOME": str(settings.home)}


def start(settings: Settings) -> ServiceRecord:
    """Start the service and return when it answers; when it runs already, return at once. Several may call it at once.

    Raises the very error by which it refused to start, or Unavailable with the last lines of its log.
    """
    log = start_log_path(settings.home)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(log.with_suffix(".lock")):
        return read_record(settings.home) or _start(settings, log)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _start(settings: Settings, log: Path) -> ServiceRecord:
    log.unlink(missing_ok=True)
    readable, writable = os.pipe()
    try:
        arguments = [*_SERVICE, "serve", "--ready-fd", str(writable)]
        await_apart(detach(arguments, log=log, env=environment(settings), pass_fds=(writable,)))
        os.close(writable)
        writable = -1
        answer = _read_answer(readable)
    finally:
        os.close(readable)
        if writable >= 0:
            os.close(writable)
    if answer == "ready":
        record = read_record(settings.home)
        if record is not None:
            return record
    if answer.startswith("{"):
        raise from_dict(json.loads(answer))
    raise Unavailable(
        "The service did not start",
        why=f"It {'ended' if answer != 'late' else f'did not answer within {START_TIMEOUT_S:g} s'}. Its log's end:\n"
        + "\n".join(tail(settings.home)),
        todo=f"Read all of it: {log} and {log_path(settings.home)}",
        code="service-did-not-start",
    )


def _read_answer(readable: int) -> str:
    """`ready`, an error as JSON, `late`, or nothing when the service ended without a word."""
    deadline = time.monotonic() + START_TIMEOUT_S
    data = b""
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([readable], [], [], left_s)[0]:
            return "late"
        chunk = os.read(readable, 65536)
        if not chunk:
            return data.decode().strip()
        data += chunk


def stop(settings: Settings) -> ServiceRecord | None:
    """End the service; machines keep running. None when it did not run. Raises HostFailure when it does not obey."""
    record = read_record(settings.home)
    if record is None:
        return None
    try:
        process = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return record
    try:
        # The descriptor names one process for good; the record is compared once more after it was opened.
        if read_record(settings.home) != record:
            return record
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], STOP_TIMEOUT_S)[0]:
            raise HostFailure(
                f"The service (process {record.pid}) did not stop within {STOP_TIMEOUT_S:g} s",
                why="It may wait for a disk that does not answer",
                todo=f"End it hard, which is safe: kill -9 {record.pid}; operations go on after the next start",
                code="service-did-not-stop",
            )
    finally:
        os.close(process)
    return record


def tail(home: Path, lines: int = _SHOWN_LOG_LINES) -> Sequence[str]:
    """The last lines of the service's logs: what it printed while starting, then its structured log."""
    found: list[str] = []
    for path in (log_path(home), start_log_path(home)):
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 65536))
                found += file.read().decode("utf-8", "replace").splitlines()[-lines:]
        except FileNotFoundError:
            continue
    return found[-lines:]


def examine(settings: Settings) -> Sequence[Check]:
    """What the doctor finds without a running service."""
    try:
        done = asyncio.run(
            run([*_SERVICE, "doctor"], timeout_s=_EXAMINE_TIMEOUT_S, env=environment(settings), check=False)
        )
        checks: Sequence[Mapping[str, str]] = json.loads(done.stdout)
        return [Check(**check) for check in checks]
    except ValueError as error:
        words = done.stderr.decode("utf-8", "replace").strip()[-2000:]
        raise DataCorrupt(
            "The host could not be examined", why=words, todo="Set the environment up again: ./insula"
        ) from error
    except InsulaError as error:
        return [Check("host", "problem", f"{error.what}: {error.why}", error.todo)]

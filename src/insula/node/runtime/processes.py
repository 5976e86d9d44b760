"""Processes that need not be our children: told apart by pid and start time, watched through a pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# Fields 3, 14, 15, 22 and 24 of /proc/<pid>/stat (proc(5)) counted from the state, which is the first after the name.
_STATE_FIELD, _USER_FIELD, _SYSTEM_FIELD, _START_FIELD, _RESIDENT_FIELD = 0, 11, 12, 19, 21


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since the host's boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold blanks and parentheses, so the fields are counted from its last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in {"Z", "X"} else int(fields[_START_FIELD])


def peer_pid(connection: socket.socket) -> int:
    """The process at the other end of a Unix socket (of a listening one: who called listen())."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", credentials)
    return int(pid)


class Process:
    """A process held by a pidfd, so that signals and waits can never meet another one that got its number."""

    def __init__(self, pid: int, ticks: int, descriptor: int) -> None:
        self.pid = pid
        self.start_ticks = ticks
        self._descriptor = descriptor

    @classmethod
    def hold(cls, pid: int, expected_ticks: int | None = None) -> Process | None:
        """The living process of this number, or None; also None when it is not the one that started then."""
        if pid <= 0:
            return None
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        # Asked after the descriptor holds the process: the answer is about this very one.
        ticks = start_ticks(pid)
        if ticks is None or (expected_ticks is not None and ticks != expected_ticks):
            os.close(descriptor)
            return None
        return cls(pid, ticks, descriptor)

    def is_alive(self) -> bool:
        """Zombies are dead."""
        return self._descriptor >= 0 and start_ticks(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    async def wait_end(self) -> None:
        """Return when it has ended. May be awaited by several tasks at once, each with its own timeout."""
        if not self.is_alive():
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        # Each waiter has its own descriptor, since a loop knows only one reader for each.
        watched = os.dup(self._descriptor)
        loop.add_reader(watched, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    def close(self) -> None:
        """Let go of it. May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether this very process lives, and not another with its number."""
    process = Process.hold(pid, start_ticks)
    if process is None:
        return False
    process.close()
    return True


def with_argument(text: str) -> Sequence[int]:
    """The processes that have `text` as one of their arguments: the last resort for what nobody recorded."""
    return with_argument_like(re.compile(re.escape(text)))


def with_argument_like(pattern: re.Pattern[str]) -> Sequence[int]:
    """The processes one of whose arguments is matched by all of `pattern`. Reads all of /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                if any(pattern.fullmatch(os.fsdecode(argument)) for argument in arguments):
                    found.append(int(folder.name))
    return found


def kill(pids: Iterable[int]) -> None:
    """End these processes at once, whosever children they are; never ourselves."""
    for pid in pids:
        if pid != os.getpid() and (process := Process.hold(pid)) is not None:
            process.send(signal.SIGKILL)
            process.close()


def parent_of(pid: int) -> int:
    """The parent's process id; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def started_at_s(ticks: int) -> float:
    """Unix time of a start in clock ticks since the host's boot, good to some 10 ms."""
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def use_of(pid: int) -> tuple[float, int] | None:
    """The seconds of processors that a process has used with all its threads, and the bytes of memory that it holds.

    None when it is gone or a zombie.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    if fields[_STATE_FIELD] in {"Z", "X"}:
        return None
    ticks = int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[_RESIDENT_FIELD]) * os.sysconf("SC_PAGE_SIZE")

"""One start of QEMU: everything it inherits, the jail, the cgroup, and the certainty that a failure leaves nothing.

The order matters. The folder's lock is taken first, and QEMU inherits it: as long as any process of this machine lives,
even one whose service died before writing its pid down, nobody starts a second one. bubblewrap holds QEMU back behind a
gate until it is in its cgroup and its record is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.errors import Conflict, InsulaError
from insula.base.log import get_logger
from insula.base.run import detach
from insula.node.hypervisor.driver import MachineSpec, TapNic
from insula.node.hypervisor.qemu.argv import Host, Wires, arguments, machine_uuid
from insula.node.hypervisor.qemu.failures import start_failure
from insula.node.hypervisor.qemu.files import (
    AGENT_SOCKET,
    CONSOLE_SOCKET,
    QMP_SOCKET,
    jail_for,
    listening_socket,
)
from insula.node.hypervisor.qemu.record import QEMU_LOG, Record, save
from insula.node.runtime.cgroups import Cgroup
from insula.node.runtime.jail import Gate, confined
from insula.node.runtime.processes import Process, kill, parent_of, with_argument
from insula.node.runtime.seccomp import program_file

_log = get_logger(__name__)

LOCK = "machine.lock"
_GATE_TIMEOUT_S = 15.0
_UNLOCK_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 10.0
_UNLOCK_POLL_S = 0.003


class _Pipe:
    """A pipe whose two ends are each closed once, and never a descriptor that got the same number later."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_CLOEXEC)
        self._open = {self.read, self.write}

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            if end in self._open:
                self._open.remove(end)
                os.close(end)


@dataclass(frozen=True)
class _Inherited:
    """What the machine's processes get. Ours are closed after the launch."""

    lock: int
    qmp: socket.socket
    agent: socket.socket
    console: socket.socket
    report: _Pipe
    go: _Pipe
    seccomp: int
    tap: int | None
    saved: int | None
    memory: int | None

    def passed(self) -> Sequence[int]:
        sockets = (self.qmp.fileno(), self.agent.fileno(), self.console.fileno())
        optional = (descriptor for descriptor in (self.tap, self.saved, self.memory) if descriptor is not None)
        return (self.lock, *sockets, self.report.write, self.go.read, self.seccomp, *optional)


def is_locked(folder: Path) -> bool:
    """Whether any process of a machine in `folder` lives: QEMU, or the jail around it."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def wait_unlocked(folder: Path) -> None:
    """Return when no process of the machine is left: bubblewrap leaves some milliseconds after QEMU.

    Bounded: after a while it returns anyway, and the next start will say that the machine still runs.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_UNLOCK_TIMEOUT_S):
            while is_locked(folder):  # noqa: ASYNC110 - nothing tells when another process lets go of a lock
                await asyncio.sleep(_UNLOCK_POLL_S)


def end_strays(spec_id: str) -> None:
    """Kill every process of this machine, recorded or not. Reads all of /proc: call it from a thread."""
    kill(with_argument(machine_uuid(spec_id)))


@contextlib.contextmanager
def locked(spec: MachineSpec) -> Iterator[int]:
    """Hold the folder's lock; the machine's processes inherit the yielded descriptor and keep it locked.

    Raises :class:`Conflict` when the machine runs already.
    """
    lock = os.open(spec.folder / LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"The machine of {spec.name} runs already",
                why="One of its processes holds the lock in its folder",
                todo="Stop it first, or adopt it",
                code="already-running",
            ) from None
        yield lock
    finally:
        os.close(lock)


async def launch(spec: MachineSpec, host: Host, cgroup: Cgroup, lock: int) -> tuple[Process, Record]:
    """Start QEMU in its jail and cgroup, let through the gate; its QMP socket listens already.

    Raises :class:`HostFailure`; nothing is left running then.
    """
    with _inherited(spec, lock) as inherited:
        started_at_s = time.time()
        # Shielded, because between fork and report nobody could find the process to kill it.
        spawning = asyncio.create_task(_spawn(spec, host, inherited))
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(InsulaError):
                await end(await spawning)
            raise
        try:
            cgroup.add(parent_of(process.pid))
            cgroup.add(process.pid)
            record = Record(spec.id, process.pid, process.start_ticks, started_at_s)
            await asyncio.to_thread(save, spec.folder, record)
            os.write(inherited.go.write, b"g")
        except BaseException:
            await asyncio.shield(end(process))
            raise
    return process, record


async def end(process: Process) -> None:
    """Kill QEMU, and see it and the jail around it gone, unless that takes absurdly long."""
    around = Process.hold(parent_of(process.pid))
    process.send(signal.SIGKILL)
    try:
        async with asyncio.timeout(_END_TIMEOUT_S):
            await process.wait_end()
            if around is not None and around.pid != 1:  # init took over when bubblewrap itself was killed
                await around.wait_end()
    except TimeoutError:
        _log.error("a killed process does not go", pid=process.pid)
    finally:
        process.close()
        if around is not None:
            around.close()


async def _spawn(spec: MachineSpec, host: Host, inherited: _Inherited) -> Process:
    wires = Wires(
        qmp=inherited.qmp.fileno(),
        agent=inherited.agent.fileno(),
        console=inherited.console.fileno(),
        tap=inherited.tap,
        saved=inherited.saved,
        memory=inherited.memory,
    )
    gate = Gate(report=inherited.report.write, go=inherited.go.read)
    argv = confined(arguments(spec, host, wires), replace(jail_for(spec, host, gate), seccomp=inherited.seccomp))
    try:
        await detach(argv, log=spec.folder / QEMU_LOG, pass_fds=inherited.passed())
    finally:
        # With our copies of the far ends open, the report would never end.
        inherited.report.close(inherited.report.write)
        inherited.go.close(inherited.go.read)
    return await _reported(spec, inherited.report)


async def _reported(spec: MachineSpec, report: _Pipe) -> Process:
    """QEMU's process as soon as bubblewrap has made it; it waits at the gate."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(report.read), "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(_GATE_TIMEOUT_S):
            text = await reader.readuntil(b"}")
        process = Process.hold(int(json.loads(text)["child-pid"]))
    except (TimeoutError, asyncio.IncompleteReadError, ValueError, KeyError):
        process = None
    finally:
        transport.close()
    if process is None:
        await asyncio.to_thread(end_strays, spec.id)
        raise await asyncio.to_thread(start_failure, spec.folder, spec.name, "its jail could not be built")
    return process


@contextlib.contextmanager
def _inherited(spec: MachineSpec, lock: int) -> Iterator[_Inherited]:
    with contextlib.ExitStack() as stack:
        qmp, agent, console = (
            stack.enter_context(listening_socket(spec.folder / name))
            for name in (QMP_SOCKET, AGENT_SOCKET, CONSOLE_SOCKET)
        )
        report, go = _Pipe(), _Pipe()
        stack.callback(report.close)
        stack.callback(go.close)
        seccomp = program_file()
        stack.callback(os.close, seccomp)
        tap = spec.nic.fd if isinstance(spec.nic, TapNic) else None
        saved = None
        if spec.saved is not None and spec.memory is None:
            # Opened here and handed on, since the machine's user has no business with the file.
            saved = os.open(spec.saved, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            stack.callback(os.close, saved)
        memory = spec.memory.fd if spec.memory is not None else None
        yield _Inherited(lock, qmp, agent, console, report, go, seccomp, tap, saved, memory)

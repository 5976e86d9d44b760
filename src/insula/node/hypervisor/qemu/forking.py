"""Forking: memory, devices and disk of one instant are kept for others to go on from, and the guest goes on.

The memory is sent while the guest runs, as for a migration, and again what it changed meanwhile. When little is left,
QEMU stops the guest and asks; then the disk's changes are turned to a new layer, the rest is sent, and the guest goes
on. A program of its own takes the stream apart (see memory_stream). The jailed machine gets the layer as a descriptor.

QEMU before 9.0 does not notice all that an emulated guest changes (its commit 03bfc2188f tells why), so that some forty
pages of what was sent were of another time, and children panicked. So before such a guest goes on, what was sent is
compared with its memory, and mended (see live_memory). Where that cannot be read, the guest stands still all the while.
Source: QEMU QMP Reference (migrate, transaction, add-fd), docs/devel/migration.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from insula.base.clock import monotonic_s
from insula.base.errors import HostFailure, InsulaError
from insula.base.log import get_logger
from insula.base.run import run
from insula.node.hypervisor.driver import ForkFiles, LayerFiles
from insula.node.hypervisor.qemu import memory_stream
from insula.node.hypervisor.qemu.blocks import disk_node
from insula.node.hypervisor.qemu.layers import active, layer_node, layers
from insula.node.hypervisor.qemu.live_memory import LiveMemory, UnreadableError, live_memory
from insula.node.hypervisor.qemu.qmp import Qmp
from insula.node.hypervisor.qemu.saving import (
    STOPS_BEFORE_THE_END,
    UNLIMITED_BYTES_A_SECOND,
    WITHOUT_MEMORY,
    cancel,
    end_earlier,
)
from insula.node.runtime.jail import Jail, confined

_log = get_logger(__name__)

_STREAM = "fork"
_ADDRESS = re.compile(r"Host virtual address for 0x0 \(pc\.ram\) is (0x[0-9a-f]+)\s*")
_PIPE_BYTES = 1 << 20
_POLL_S = 0.001
_SETTLE_S = 10.0
_WRITTEN_S = 10.0
_LAST_WORDS_S = 1.0
# A guest that changes memory faster than it is sent is stopped for longer and longer in the end.
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 60, 2000
_LONGER_AFTER_S = 0.2
_LEAST_S = 60.0
_SLOWEST_BYTES_A_SECOND = 20_000_000


class News:
    """The events that a fork causes, in order. Nobody else needs to hear of them."""

    def __init__(self) -> None:
        self._states: asyncio.Queue[str] = asyncio.Queue()
        self._at_s: dict[str, float] = {}

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether this is such an event; it is kept then."""
        kind = str(event["event"])
        if kind not in {"STOP", "RESUME", "MIGRATION", "MIGRATION_PASS"}:
            return False
        at = event["timestamp"]
        self._at_s[kind] = at["seconds"] + at["microseconds"] / 1e6
        if kind != "MIGRATION_PASS":
            self._states.put_nowait(str((event.get("data") or {}).get("status", kind)))
        return True

    async def next(self, timeout_s: float) -> str:
        """The migration's next state, or STOP or RESUME; empty when there is none in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await self._states.get()
        return ""

    @property
    def paused_ms(self) -> int:
        """How long the guest stood still."""
        return round((self._at_s.get("RESUME", 0.0) - self._at_s.get("STOP", 0.0)) * 1000)


async def fork(qmp: Qmp, news: News, files: ForkFiles, pid: int) -> int:
    """See CanFork.fork. `pid` is QEMU's process."""
    await end_earlier(qmp)
    is_on = bool((await qmp.run("query-status"))["running"])
    below = active(await layers(qmp)).node
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    with FileIO(read_fd, "r") as read, FileIO(write_fd, "w") as write, contextlib.ExitStack() as opened:
        splitting = _Splitting(read, files)
        try:
            await _prepare(qmp, files)
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            await qmp.give(_STREAM, write.fileno())
            write.close()
            is_emulated = is_on and not (await qmp.run("query-kvm"))["enabled"]
            memory = await _memory(qmp, files, pid, opened) if is_emulated else None
            await splitting.until(splitting.reads)  # lest a guest stands still while that starts
            if is_emulated and memory is None:
                await qmp.run("stop")
            await qmp.run("migrate", {"uri": f"fd:{_STREAM}"})
            await _await_little_left(qmp, news, splitting, _time_for(files))
            snapshot = {"type": "blockdev-snapshot", "data": {"node": below, "overlay": layer_node(files.name)}}
            await qmp.run("transaction", {"actions": [snapshot]})
            await qmp.run("migrate-continue", {"state": "pre-switchover"})
            if memory is not None:
                await splitting.until(splitting.has_memory)
                await _mend(memory, files.memory)
            await _await_completion(qmp, news, splitting)
            if is_on:
                await qmp.run("cont")
            await splitting.task
            while is_on and await news.next(_SETTLE_S) not in {"RESUME", ""}:
                pass
        except BaseException:
            await splitting.cancel()
            read.close()  # QEMU may be waiting for somebody to read on
            with contextlib.suppress(InsulaError):
                await asyncio.shield(settle(qmp, files.name, is_on))
            raise
    return news.paused_ms if is_on else 0


async def add_layer(qmp: Qmp, news: News, files: LayerFiles, nvram: Path) -> int:
    """See CanFork.add_layer. `nvram` is the file with the firmware's variables, if there is one.

    QEMU keeps changes of the variables to itself until it is stopped, so a machine that has some stands still for it.
    """
    is_on = bool((await qmp.run("query-status"))["running"])
    below = active(await layers(qmp)).node
    is_stopped = is_on and nvram.exists()
    try:
        await _add_layer(qmp, files.name, files.layer)
        began_s = monotonic_s()
        if is_stopped:
            await qmp.run("stop")
        await qmp.run("blockdev-snapshot", {"node": below, "overlay": layer_node(files.name)})
        if nvram.exists():
            await asyncio.to_thread(shutil.copyfile, nvram, files.nvram)
        if is_stopped:
            await qmp.run("cont")
        paused_ms = round((monotonic_s() - began_s) * 1000)
        while is_stopped and await news.next(_SETTLE_S) not in {"RESUME", ""}:
            pass
    except BaseException:
        with contextlib.suppress(InsulaError):
            await asyncio.shield(settle(qmp, files.name, is_on))
        raise
    return paused_ms


async def settle(qmp: Qmp, name: str, is_on: bool) -> bool:
    """See CanFork.settle_fork."""
    await cancel(qmp)
    await _await_end(qmp)
    status = await qmp.run("query-status")
    if is_on and not status["running"] and status["status"] in {"postmigrate", "paused"}:
        await qmp.run("cont")
    layer = next((layer for layer in await layers(qmp) if layer.node == layer_node(name)), None)
    if layer is None:
        return False
    if layer.depth == 0:  # it was never put over the disk
        await qmp.run("blockdev-del", {"node-name": layer.node})
    return layer.depth > 0


async def _add_layer(qmp: Qmp, name: str, layer: Path) -> None:
    """Open the layer in the machine, whose jail does not show it: by descriptors, to write and later only to read."""
    set_id: int | None = None
    for flags in (os.O_RDWR, os.O_RDONLY):
        descriptor = os.open(layer, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            set_id = await qmp.give_to_set(descriptor, set_id)
        finally:
            os.close(descriptor)
    # A lock would stay with the set's own descriptor when the layer is only read any more; the machine's folder is
    # locked as a whole.
    file = {"filename": f"/dev/fdset/{set_id}", "locking": "off"}
    await qmp.run("blockdev-add", {**disk_node(layer_node(name), file), "backing": None})


async def _prepare(qmp: Qmp, files: ForkFiles) -> None:
    await _add_layer(qmp, files.name, files.layer)
    capabilities = [WITHOUT_MEMORY, STOPS_BEFORE_THE_END, {"capability": "events", "state": True}]
    await qmp.run("migrate-set-capabilities", {"capabilities": capabilities})
    await _allow_pause(qmp, _FIRST_PAUSE_MS)


class _Splitting:
    """The program that takes the stream apart, at work."""

    def __init__(self, stream: FileIO, files: ForkFiles) -> None:
        self.reads = asyncio.Event()
        self.has_memory = asyncio.Event()  # all of it is written
        self.task = asyncio.create_task(self._run(stream, files))

    async def until(self, event: asyncio.Event) -> None:
        """Until that has happened. Raises HostFailure when the program ends before or does not say it in time."""
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({waiting, self.task}, timeout=_WRITTEN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not event.is_set():
            raise _failed(f"Who reads it did not come so far: {await self.cancel() or 'it is too slow'}")

    async def cancel(self) -> BaseException | None:
        """End it, whatever it does. Returns why it had failed, None when it had not."""
        self.task.cancel()
        (problem,) = await asyncio.gather(self.task, return_exceptions=True)
        return None if isinstance(problem, asyncio.CancelledError) else problem

    async def _run(self, stream: FileIO, files: ForkFiles) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with stream, FileIO(os.open(files.devices, flags, 0o600), "w") as devices:
            program = Path(memory_stream.__file__)
            jail = Jail(read_only=(program, Path(sysconfig.get_path("stdlib"))), dies_with_us=True)
            passed = (stream.fileno(), devices.fileno(), files.memory)
            python = os.path.realpath(sys.executable)
            argv = [python, "-I", "-S", "-B", str(program), *map(str, passed), str(os.fstat(files.memory).st_size)]
            timeout_s = _time_for(files) + _WRITTEN_S
            await run(confined(argv, jail), timeout_s=timeout_s, pass_fds=passed, on_line=self._said)

    def _said(self, line: str) -> None:
        if line == memory_stream.READS:
            self.reads.set()
        elif line == memory_stream.HAS_MEMORY:
            self.has_memory.set()


async def _memory(qmp: Qmp, files: ForkFiles, pid: int, opened: contextlib.ExitStack) -> LiveMemory | None:
    """The guest's memory, None when it cannot be read from outside."""
    said = await qmp.run("human-monitor-command", {"command-line": "gpa2hva 0"})
    found = _ADDRESS.fullmatch(said)
    if found is None:
        _log.warning("QEMU does not say where the guest's memory is", said=said[:200])
        return None
    try:
        return opened.enter_context(live_memory(pid, int(found[1], 16), os.fstat(files.memory).st_size))
    except UnreadableError as error:
        _log.info("a guest stands still while its memory is sent", problem=str(error))
        return None


async def _mend(memory: LiveMemory, copy: int) -> None:
    """It is not left before the thread has ended, whose descriptors are closed then."""
    mending = asyncio.create_task(asyncio.to_thread(memory.mend, copy))
    try:
        await asyncio.shield(mending)
    except UnreadableError as error:
        raise _failed(str(error)) from error
    except BaseException:
        await asyncio.wait({mending})
        raise


def _time_for(files: ForkFiles) -> float:
    return _LEAST_S + os.fstat(files.memory).st_size / _SLOWEST_BYTES_A_SECOND


async def _allow_pause(qmp: Qmp, limit_ms: int) -> None:
    await qmp.run("migrate-set-parameters", {"max-bandwidth": UNLIMITED_BYTES_A_SECOND, "downtime-limit": limit_ms})


async def _await_little_left(qmp: Qmp, news: News, splitting: _Splitting, timeout_s: float) -> None:
    """Until the guest is stopped and QEMU waits for us."""
    limit_ms = _FIRST_PAUSE_MS
    begun_s = longer_s = monotonic_s()
    while True:
        longer_s += _LONGER_AFTER_S
        while (left_s := longer_s - monotonic_s()) > 0:
            state = await news.next(left_s)
            if state == "pre-switchover":
                return
            await _check(qmp, state, splitting)
        if monotonic_s() - begun_s > timeout_s:
            raise HostFailure(
                "The memory was not sent in time",
                why=f"It had {timeout_s:g} s, and the guest changes it faster than it is sent",
                todo="Pause the instance and fork it then",
                code="fork-timeout",
            )
        limit_ms = min(limit_ms * 2, _LONGEST_PAUSE_MS)
        await _allow_pause(qmp, limit_ms)


async def _await_completion(qmp: Qmp, news: News, splitting: _Splitting) -> None:
    while (state := await news.next(_WRITTEN_S)) != "completed":
        await _check(qmp, state or "failed", splitting)
    await _await_end(qmp)


async def _check(qmp: Qmp, state: str, splitting: _Splitting) -> None:
    """Raise the reason if the memory cannot come to its end any more."""
    task = splitting.task
    if state not in {"failed", "cancelled"} and not (task.done() and task.exception()):
        return
    await asyncio.wait({task}, timeout=_LAST_WORDS_S)  # it ends with the stream, and may know better why
    problem = await splitting.cancel()
    said = str((await qmp.run("query-migrate")).get("error-desc", state))
    raise _failed(f"QEMU says: {said}; and who reads it: {problem or 'nothing'}")


def _failed(why: str) -> HostFailure:
    return HostFailure(
        "The memory could not be sent", why=why, todo="Look at its qemu.log, and try again", code="fork-failed"
    )


async def _await_end(qmp: Qmp) -> None:
    """Until a migration that is complete has been wound up, which takes a moment."""
    try:
        async with asyncio.timeout(_SETTLE_S):
            while (await qmp.run("query-status"))["status"] == "finish-migrate":  # noqa: ASYNC110 - QEMU is asked
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise HostFailure(
            "The machine does not come to an end of its migration",
            why=f"It had {_SETTLE_S:g} s",
            todo="Look at its qemu.log and the host's disk",
            code="fork-failed",
        ) from error

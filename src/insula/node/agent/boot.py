"""Watching one boot: from the machine's first instruction until the guest is ready, or why it is not.

Two sources run side by side: the growing console log gives the phases, and the guest's first answer (through its
agent, else SSH's banner, else a login prompt) together with finished provisioning makes it *ready*.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from insula.base.clock import monotonic_s
from insula.base.errors import GuestFailure, InsulaError
from insula.domain.image import Image, Provisioning
from insula.domain.instance import BootPhase, PortForward, Protocol
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import exists
from insula.node.agent.phases import ADOPT, FIRMWARE, WAKE, PhaseParser
from insula.protocol.node import BootReport

_CONSOLE_POLL_S = 0.03
_READ_BYTES = 256 * 1024
_ANSWER_S = 3.0  # then connect anew: an agent that came up in between may have dropped the question
_PROVISIONING_POLL_S = 1.0
_SSH_POLL_S = 0.25
_TAIL_LINES = 12

# What a boot prints first: firmware, kernel, or our own init behind a quiet kernel.
_FIRST_SIGNS = (b"SeaBIOS (", b"UEFI firmware", b"Linux version ", b"insula-phase: init")

# What exists in a guest once its first-boot work is done.
_DONE_FILE = {
    Provisioning.INSULA: "/run/insula/ready",
    Provisioning.CLOUD_INIT: "/run/cloud-init/result.json",
}


@dataclass(frozen=True)
class BootSubject:
    """What boots: `console` is the log file, read from `offset`; `ssh` is where its port 22 is reached, if at all.

    `first` is the phase that it begins in.
    """

    name: str
    console: Path
    agent: GuestAgent
    image: Image
    ssh: tuple[str, int] | None
    started_at_s: float  # Unix time of this boot's begin
    offset: int = 0
    first: str = FIRMWARE


@dataclass
class BootWatch:
    """One boot. :meth:`run` does the watching; :meth:`wait` may be called by many.

    `on_ready` records that the guest is ready, before anybody who waits or looks is told; `on_over` is called when this
    boot has ended either way, before those who wait go on.
    """

    subject: BootSubject
    on_ready: Callable[[BootWatch], Awaitable[None]]
    on_over: Callable[[], None] = lambda: None
    ready_by: str = ""
    failure: InsulaError | None = None
    read_to: int = 0  # how far console.log was read
    _parser: PhaseParser = field(init=False)
    _ended: list[BootPhase] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _console_news: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _took_ms: int = 0

    def __post_init__(self) -> None:
        self.read_to = self.subject.offset
        self._parser = PhaseParser(self.subject.first)

    @classmethod
    def finished(cls, subject: BootSubject, phases: tuple[BootPhase, ...], ready_by: str) -> BootWatch:
        """A boot that ended before this process began, as its record tells."""
        watch = cls(subject, _told_already, ready_by=ready_by)
        watch._ended = list(phases)
        watch._took_ms = phases[-1].started_ms if phases else 0
        watch._over.set()
        return watch

    @property
    def is_ready(self) -> bool:
        """Whether the guest is ready and that is recorded."""
        return self._over.is_set() and bool(self.ready_by)

    @property
    def has_just_begun(self) -> bool:
        """Whether it shows nothing yet but firmware."""
        return not self._over.is_set() and self._parser.current == FIRMWARE

    @property
    def phases(self) -> tuple[BootPhase, ...]:
        """The phases so far, the running one included."""
        if self._over.is_set():
            return tuple(self._ended)
        return self._parser.phases(self._took_ms or self._now_ms())

    async def run(self) -> None:
        """Watch until the guest is ready or :meth:`fail` was called."""
        async with asyncio.TaskGroup() as group:
            console = group.create_task(self._follow_console())
            ready = group.create_task(self._await_guest())
            await self._wait_over(ready)
            console.cancel()
            ready.cancel()

    async def fail(self, why: str, code: str) -> None:
        """End this boot: nobody needs to wait any longer. Nothing happens when it is over already."""
        if not self._over.is_set():
            self.failure = self._failure(f"{self.subject.name} did not become ready", why, code)
            await self._finish("")

    async def wait(self, timeout_s: float, on_phase: Callable[[BootPhase], None]) -> BootReport:
        """Until ready; `on_phase` sees every phase once, also those that ended before the call.

        Raises :class:`GuestFailure` that names the phase and has the console's last lines.
        """
        told = 0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    async with self._changed:
                        while len(self._ended) <= told and not self._over.is_set():
                            await self._changed.wait()
                    for phase in self._ended[told:]:
                        on_phase(phase)
                    told = len(self._ended)
                    if self._over.is_set():
                        break
        except TimeoutError as error:
            why = f"After {timeout_s:g} s it was still in the phase {self._parser.current}"
            raise self._failure(f"{self.subject.name} is not ready", why, "boot-timeout") from error
        if self.failure is not None:
            raise self.failure
        return BootReport(tuple(self._ended), self.ready_by, self._took_ms)

    def _now_ms(self) -> int:
        return max(0, int((time.time() - self.subject.started_at_s) * 1000))

    async def _wait_over(self, ready: asyncio.Task[str]) -> None:
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({over, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if ready.done() and not ready.cancelled() and ready.exception() is None and not self._over.is_set():
            await self._finish(ready.result())

    async def _finish(self, ready_by: str) -> None:
        self.ready_by = ready_by
        self._took_ms = self._now_ms()
        if ready_by:
            self._parser.enter("ready", self._took_ms)
            try:
                await self.on_ready(self)
            except Exception:
                # The guest is ready, though that could not be written down: those who wait must not wait for ever.
                await self._end()
                raise
        await self._end()

    async def _end(self) -> None:
        if self.ready_by:
            self._ended = list(self._parser.phases(self._took_ms))
        self._over.set()
        self.on_over()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _follow_console(self) -> None:
        while True:
            data, self.read_to = await asyncio.to_thread(_read_on, self.subject.console, self.read_to)
            if data:
                ended = self._parser.feed(data, self._now_ms())
                self._console_news.set()
                if ended:
                    self._ended += ended
                    await self._notify()
                if self._parser.panic:
                    await self.fail(f"Its kernel panicked: {self._parser.panic}", "kernel-panic")
            else:
                await asyncio.sleep(_CONSOLE_POLL_S)

    async def _await_guest(self) -> str:
        image = self.subject.image
        if not image.has_agent:
            if self.subject.first == WAKE and not self.subject.ssh:
                return "memory"  # nothing can be asked, and what it was before goes on
            return await self._await_ssh() if self.subject.ssh else await self._await_login()
        while True:
            try:
                await self.subject.agent.await_answer(_ANSWER_S)
                if self.subject.first not in (ADOPT, WAKE):  # these did their first-boot work before
                    await self._await_provisioning(image.provisioning)
            except GuestFailure:
                await asyncio.sleep(_CONSOLE_POLL_S)
            else:
                return "agent"

    async def _await_provisioning(self, provisioning: Provisioning) -> None:
        done_file = _DONE_FILE.get(provisioning)
        if done_file is None:
            return
        next_look_s = 0.0
        while not self._parser.marked_ready and not self._parser.cloud_init_done:
            if monotonic_s() >= next_look_s:
                if await exists(self.subject.agent, done_file):
                    return
                next_look_s = monotonic_s() + _PROVISIONING_POLL_S
            await self._await_console(next_look_s - monotonic_s())

    async def _await_ssh(self) -> str:
        assert self.subject.ssh is not None  # noqa: S101 - the caller looked
        while True:
            if await _has_ssh_banner(*self.subject.ssh):
                return "ssh"
            await asyncio.sleep(_SSH_POLL_S)

    async def _await_login(self) -> str:
        while not self._parser.login_seen:
            await self._await_console(_PROVISIONING_POLL_S)
        return "console"

    async def _await_console(self, timeout_s: float) -> None:
        """Until the console shows more, or for so long."""
        self._console_news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._console_news.wait()

    def _failure(self, what: str, why: str, code: str) -> GuestFailure:
        lines = console_tail(self.subject.console).splitlines()[-_TAIL_LINES:]
        shown = "\n".join(lines) if lines else "(nothing)"
        return GuestFailure(
            f"{what}: it stopped in the phase {self._parser.current}",
            why=f"{why}. The console's last lines:\n{shown}",
            todo=f"See the whole console: `insula console {self.subject.name} --log`",
            code=code,
        )


async def _told_already(watch: BootWatch) -> None:
    """Its record is where the news came from."""


def console_tail(path: Path, max_bytes: int = 4096) -> str:
    """The end of a console log as text that cannot play tricks on a terminal; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - max_bytes))
            text = file.read(max_bytes).decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(letter for letter in text.replace("\r", "") if letter.isprintable() or letter in "\n\t")


def ssh_address(forwards: Iterable[PortForward]) -> tuple[str, int] | None:
    """Where the guest's port 22 is reached from this host, if it is forwarded."""
    forward = next((f for f in forwards if (f.guest_port, f.protocol) == (22, Protocol.TCP)), None)
    if forward is None:
        return None
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
    return any_address.get(forward.host_address, forward.host_address), forward.host_port


def next_boot_offset(console: Path, begun_at: int, read_to: int) -> int:
    """Where a boot begins that was just told: at its first sign, else where its watch is to read on.

    The boot before began at `begun_at` and was read up to `read_to`. News of a reset may come later than the first
    lines of the boot that follows it, and these may have been read already, as if they belonged to the boot before: so
    the new boot begins where the sign that its predecessor began with stands for the last time.
    """
    try:
        with console.open("rb") as file:
            size = file.seek(0, 2)
            begun_at, read_to = (begun_at, read_to) if begun_at <= read_to <= size else (0, 0)
            head = _read_at(file, begun_at)
            start = max(begun_at, size - _READ_BYTES)
            tail = _read_at(file, start)
    except OSError:
        return 0
    places = {sign: place for sign in _FIRST_SIGNS if (place := head.find(sign)) >= 0}
    if not places:
        return size
    first = min(places, key=places.__getitem__)
    last = start + tail.rfind(first)
    if last > begun_at + places[first]:
        return last
    # The one sign there is belongs to the boot before if that boot was read past it.
    return size if begun_at + places[first] < read_to else begun_at + places[first]


def _read_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(_READ_BYTES)


def _read_on(path: Path, offset: int) -> tuple[bytes, int]:
    """What was appended since `offset`, and the new offset; a file that became shorter is read from its begin."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < offset:
                offset = 0
            file.seek(offset)
            data = file.read(_READ_BYTES)
    except OSError:
        return b"", offset
    return data, offset + len(data)


async def _has_ssh_banner(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"SSH-2.0-insula\r\n")
                return (await reader.read(4)) == b"SSH-"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False

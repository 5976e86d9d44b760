"""The boots of one instance: the present one is watched, and a reset begins the next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from insula.base.clock import monotonic_s
from insula.base.errors import GuestFailure
from insula.domain.instance import BootPhase
from insula.node.agent.boot import BootSubject, BootWatch, next_boot_offset, ssh_address
from insula.node.agent.guest import GuestAgent
from insula.node.agent.phases import FIRMWARE
from insula.node.agent.records import BootRecord, InstanceRecord
from insula.node.agent.surroundings import Surroundings
from insula.protocol.node import BootReport


class Owner(Protocol):
    """The instance whose boots these are."""

    record: InstanceRecord
    agent: GuestAgent

    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...


class Boots:
    """Watches one boot at a time. `new_boot` is set when a reset has begun one."""

    def __init__(self, owner: Owner, folder: Path, around: Surroundings) -> None:
        self._owner = owner
        self._forwards = around.launcher.forwards
        self._console = folder / "console.log"
        self._background = around.background
        self._current: BootWatch | None = None
        self._task: asyncio.Task[Any] | None = None
        self.new_boot = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self._current is not None and self._current.is_ready

    @property
    def phases(self) -> tuple[BootPhase, ...]:
        return self._current.phases if self._current is not None else ()

    def watch(self, started_at_s: float, offset: int, first: str = FIRMWARE, once: asyncio.Event | None = None) -> None:
        """Watch the boot that began at `started_at_s` (Unix time), from this place in console.log on.

        With `once` its guest is not asked anything before that is set.
        """
        if self._task is not None:
            self._task.cancel()
        self._current = BootWatch(self._subject(started_at_s, offset, first), self._note_ready, self._owner.publish)
        self._task = self._background.spawn(_run(self._current, once), f"boot of {self._owner.record.spec.name}")
        self._owner.publish()

    def watch_on(self, machine_started_at_s: float) -> None:
        """Go on with the boot that the record tells of, unless an earlier machine did it."""
        boot = self._owner.record.boot
        if boot is None or boot.started_at_s < machine_started_at_s - 1:
            self.watch(machine_started_at_s, 0)
        elif boot.ready_by:
            subject = self._subject(boot.started_at_s, boot.offset, FIRMWARE)
            self._current = BootWatch.finished(subject, boot.phases, boot.ready_by)
        else:
            self.watch(boot.started_at_s, boot.offset, boot.first)

    async def begin_next(self) -> None:
        """The machine was reset."""
        previous = self._current
        if previous is not None and previous.has_just_begun:  # firmware resets a machine more than once on its way
            self.new_boot.set()
            return
        now_s = time.time()
        await self._owner.agent.close()  # what is in flight belongs to the guest of before
        begun_at, read_to = (previous.subject.offset, previous.read_to) if previous is not None else (0, 0)
        offset = await asyncio.to_thread(next_boot_offset, self._console, begun_at, read_to)
        self.watch(now_s, offset)
        if previous is not None:
            await previous.fail("The machine was reset", "boot-reset")
        self.new_boot.set()
        await self._owner.change(boot=BootRecord(now_s, offset))

    async def end(self, why: str, code: str = "machine-ended") -> None:
        """The machine has ended: nobody needs to wait any longer."""
        if self._current is not None:
            await self._current.fail(why, code)
        if self._task is not None:
            self._task.cancel()

    @contextlib.asynccontextmanager
    async def replaced(self) -> AsyncIterator[None]:
        """Another boot is begun within; who waits for the present one is led on to it."""
        previous = self._current
        try:
            yield
        finally:
            if previous is not None:
                await previous.fail("It was given up", "boot-reset")

    async def await_ready(
        self, timeout_s: float, on_phase: Callable[[BootPhase], None], why_not: Callable[[], str]
    ) -> BootReport:
        """See NodeApi. A boot that is cut short by a reset is followed into the next one.

        `why_not` tells why nothing boots; empty when something does.
        """
        deadline_s = monotonic_s() + timeout_s
        while True:
            boot, problem = self._current, why_not()
            if problem or boot is None:
                name = self._owner.record.spec.name
                raise GuestFailure(
                    f"{name} is not booting", why=problem, todo=f"Start it: `insula start {name}`", code="not-booting"
                )
            try:
                return await boot.wait(max(0.0, deadline_s - monotonic_s()), on_phase)
            except GuestFailure as error:
                if error.code != "boot-reset" or self._current is boot:
                    raise

    def _subject(self, started_at_s: float, offset: int, first: str) -> BootSubject:
        record = self._owner.record
        assert record.image is not None  # noqa: S101 - the launcher starts and adopts no machine without it
        ssh = ssh_address(self._forwards(record))
        return BootSubject(
            record.spec.name, self._console, self._owner.agent, record.image.image, ssh, started_at_s, offset, first
        )

    async def _note_ready(self, boot: BootWatch) -> None:
        if boot is self._current:
            subject = boot.subject
            record = BootRecord(subject.started_at_s, boot.read_to, boot.phases, boot.ready_by)
            await self._owner.change(boot=record, problem="")


async def _run(watch: BootWatch, once: asyncio.Event | None) -> None:
    if once is not None:
        await once.wait()
    await watch.run()

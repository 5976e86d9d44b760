"""Makes templates by itself: after an instance had to boot for want of one, and while nothing else is to do.

An instance's machine always comes first. A template whose machine is still booting is given up when an instance is
about to start, and made later: its guest would need the processor and the memory just then. Once its machine has ended,
only its files are written, which goes on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import DiskFull, HostFailure, InsulaError
from insula.base.log import get_logger
from insula.node.agent.changes import Changes
from insula.node.agent.host import available_memory_mib, disk_usage, memory_mib
from insula.node.agent.phases import FIRMWARE
from insula.node.agent.template_key import TemplateKeys
from insula.node.agent.template_maker import TemplateMaker
from insula.node.agent.template_rules import TemplateRules
from insula.node.agent.template_store import Failure
from insula.node.storage.backend import ImageSource
from insula.protocol.node import InstanceSpec, Power

_SPARE_MIB = 512  # of memory and of disk, for the host itself
_MIB = 1 << 20

_log = get_logger(__name__)


@dataclass(frozen=True)
class Instances:
    """What the instances of the node need, asked whenever it matters.

    `disks_in_use` are all files that their disks are based on, `promised_mib` is all memory that they may take, on or
    off, `are_busy` whether one of them is being worked on.
    """

    disks_in_use: Callable[[], frozenset[Path]]
    promised_mib: Callable[[], int]
    are_busy: Callable[[], bool]


class Warming:
    """Which templates are wanted, and the making of one after the other."""

    def __init__(
        self, maker: TemplateMaker, keys: TemplateKeys, images: ImageSource, instances: Instances, rules: TemplateRules
    ) -> None:
        self._maker = maker
        self._store = maker.store
        self._keys = keys
        self._images = images
        self._instances = instances
        self._rules = rules
        self._booting: dict[str, InstanceSpec] = {}  # instances whose first boot shows whether a template is worth it
        self._wanted: dict[str, InstanceSpec] = {}  # key → an instance that would have gone on from it
        self._news = asyncio.Event()
        self._held_off = 0
        self._making: asyncio.Task[bool] | None = None
        self._failed_once: dict[str, str] = {}  # key → code

    def expect(self, spec: InstanceSpec) -> None:
        """A new instance is going to boot, since there is no template for it."""
        self._booting[spec.id] = spec

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Begin nothing meanwhile: other work needs the host."""
        self._held_off += 1
        try:
            yield
        finally:
            self._held_off -= 1

    async def give_way(self) -> None:
        """An instance's machine is about to start: end a template's that is booting, and wait until it is gone."""
        if self._making is not None and not self._maker.is_storing:
            _log.info("a template is given up for now: an instance starts")
            self._making.cancel()
            await asyncio.wait({self._making})

    @property
    def is_making(self) -> bool:
        """Whether the template that is being made was asked for by nobody."""
        return self._making is not None

    @property
    def is_wanting(self) -> bool:
        """Whether templates are wanted that are still to be made."""
        return bool(self._wanted)

    async def run(self, changes: Changes) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(changes))
            group.create_task(self._work())

    async def _listen(self, changes: Changes) -> None:
        async for report in changes.watch():
            if report.power is Power.ON and (spec := self._booting.pop(report.id, None)) is not None:
                if report.phases and report.phases[0].name == FIRMWARE:
                    await self._want(spec)
            elif report.power is Power.ABSENT:
                self._booting.pop(report.id, None)

    async def _want(self, spec: InstanceSpec) -> None:
        try:
            key = await self._keys.of(spec, await self._images.bootable(spec.image))
        except (InsulaError, OSError):  # the image has gone meanwhile
            return
        if key and key not in await self._store.failures() and await self._store.find(key) is None:
            self._wanted[key] = spec
            self._news.set()

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            pause_s = self._rules.pause_s
            while self._wanted:
                await asyncio.sleep(pause_s)
                wish = self._next() if self.is_calm else None
                is_done = wish is not None and await self._make(*wish)
                pause_s = self._rules.pause_s if is_done else min(2 * pause_s, self._rules.longest_pause_s)

    @property
    def is_calm(self) -> bool:
        """Whether the host has nothing better to do."""
        cores = len(os.sched_getaffinity(0))
        if self._held_off or self._instances.are_busy() or self._maker.machine is not None:
            return False
        return os.getloadavg()[0] < self._rules.calm_load * cores

    def _next(self) -> tuple[str, InstanceSpec] | None:
        """The first that there is room for: beyond what instances may take, and now."""
        beyond_promises_mib = memory_mib() - self._instances.promised_mib()
        spare_mib = min(beyond_promises_mib, available_memory_mib()) - _SPARE_MIB
        disk_mib = disk_usage(self._store.folder)[2] // _MIB - _SPARE_MIB
        for key, spec in self._wanted.items():
            if spec.resources.memory_mib <= min(spare_mib, disk_mib):
                return key, spec
        return None

    async def _make(self, key: str, spec: InstanceSpec) -> bool:
        """Whether nothing is left to do about this wish."""
        self._making = asyncio.create_task(self._make_now(key, spec))
        try:
            await asyncio.wait({self._making})
        finally:
            self._making.cancel()
            await asyncio.wait({self._making})
            making, self._making = self._making, None
        is_done = not making.cancelled() and making.result()
        if is_done:
            self._wanted.pop(key, None)
        elif key in self._wanted:
            self._wanted[key] = self._wanted.pop(key)  # the others first
        return is_done

    async def _make_now(self, key: str, spec: InstanceSpec) -> bool:
        try:
            image = await self._images.bootable(spec.image)
            if await self._keys.of(spec, image) == key:  # else the image has a newer version; the next boot wants that
                await self._maker.make(key, spec, image)
        except (InsulaError, OSError) as error:
            _log.warning("a template could not be made", image=spec.image, key=key, problem=str(error))
            return await self._note_failure(key, spec, error)
        self._failed_once.pop(key, None)
        return True

    async def _note_failure(self, key: str, spec: InstanceSpec, error: InsulaError | OSError) -> bool:
        """A full disk may have room later, and a host's trouble may pass once; what repeats itself is left alone."""
        code = error.code if isinstance(error, InsulaError) else type(error).__name__
        may_pass = isinstance(error, HostFailure | OSError) and self._failed_once.get(key) != code
        if may_pass or isinstance(error, DiskFull):
            self._failed_once[key] = code
            return False
        await self._store.note_failure(key, Failure(spec.image, spec.resources, str(error)))
        return True

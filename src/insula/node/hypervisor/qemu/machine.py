"""A running QEMU: its process, its QMP connection, and the two watchers that turn their news into events."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from insula.base.errors import Conflict, HostFailure, InsulaError
from insula.base.log import get_logger
from insula.domain.instance import Resources
from insula.node.hypervisor.driver import (
    DiskCounts,
    EndReason,
    ForkFiles,
    LayerFiles,
    MachineEvent,
    MachineStatus,
    MachineVolume,
    ProcessUse,
    TapNic,
)
from insula.node.hypervisor.feed import EventFeed
from insula.node.hypervisor.qemu import cards, forking, layers, saving, volumes
from insula.node.hypervisor.qemu.argv import DISK_THROTTLED, NETWORK, NVRAM, THROTTLE_GROUP
from insula.node.hypervisor.qemu.blocks import throttle_limits
from insula.node.hypervisor.qemu.counting import disk_counts
from insula.node.hypervisor.qemu.files import QMP_SOCKET, cut_logs
from insula.node.hypervisor.qemu.launch import wait_unlocked
from insula.node.hypervisor.qemu.limits import machine_limits
from insula.node.hypervisor.qemu.qmp import Qmp
from insula.node.hypervisor.qemu.record import Record, load, reason_of, save, unseen_end
from insula.node.runtime.cgroups import Cgroup, remove_emptied
from insula.node.runtime.processes import Process, use_of

_RECONNECT_TIMEOUT_S = 5.0
_QUIT_TIMEOUT_S = 5.0
_KILL_TIMEOUT_S = 10.0
_LOG_CHECK_S = 15.0
_PAUSED_STATES = frozenset(
    {"paused", "suspended", "prelaunch", "watchdog", "inmigrate", "postmigrate", "finish-migrate"}
)
# QEMU stops a guest only for a write that the host has no room for; it hands other errors on to the guest.
_STARVED_STATE = "io-error"
_EVENT_KINDS = {"RESET": "reset", "STOP": "paused", "RESUME": "resumed", "GUEST_PANICKED": "panicked"}

_log = get_logger(__name__)


class QemuMachine:
    """Implements Machine and every optional capability."""

    def __init__(self, folder: Path, record: Record, process: Process, qmp: Qmp, cgroup: Cgroup) -> None:
        self._folder = folder
        self._record = record
        self._process = process
        self._qmp = qmp
        self._cgroup = cgroup
        self._feed = EventFeed()
        self._ended = asyncio.Event()
        self._seen_reason: EndReason | None = None
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._fork_news: forking.News | None = None  # where events go that a fork causes
        self._spawn(self._watch_end())
        self._spawn(self._cut_logs())
        self._listen()

    @property
    def spec_id(self) -> str:
        return self._record.spec_id

    @property
    def pid(self) -> int:
        return self._record.pid

    @property
    def started_at_s(self) -> float:
        return self._record.started_at_s

    async def status(self) -> MachineStatus:
        if self._ended.is_set() or not self._process.is_alive():
            return MachineStatus.ENDED
        try:
            state = (await self._run("query-status"))["status"]
        except InsulaError:
            if not self._process.is_alive():
                return MachineStatus.ENDED
            raise
        if state == _STARVED_STATE:
            return MachineStatus.STARVED
        return MachineStatus.PAUSED if state in _PAUSED_STATES else MachineStatus.RUNNING

    async def press_power_button(self) -> None:
        await self._run("system_powerdown")

    async def reset(self) -> None:
        await self._run("system_reset")

    async def kill(self) -> None:
        """See Machine.kill. QEMU may first write its caches back, so that no disk space leaks; then it must go."""
        if self._process.is_alive():
            self._record = replace(self._record, is_commanded=True)
            await asyncio.to_thread(save, self._folder, self._record)
            with contextlib.suppress(InsulaError, TimeoutError):
                await self._run("quit", timeout_s=_QUIT_TIMEOUT_S)
                async with asyncio.timeout(_QUIT_TIMEOUT_S):
                    await self._process.wait_end()
            self._process.send(signal.SIGKILL)
        if not self._ended.is_set():  # it may have died just now: who waits for its end must hear of it all the same
            await self._await_gone()
        await self._let_go()

    async def wait(self) -> EndReason:
        await self._ended.wait()
        return self._record.end_reason or EndReason.CRASHED

    def events(self) -> AsyncIterator[MachineEvent]:
        return self._feed.listen()

    async def detach(self) -> None:
        await self._let_go()
        self._feed.close()

    async def pause(self) -> None:
        await self._run("stop")

    async def resume(self) -> None:
        await self._run("cont")

    async def save(self, target: Path) -> None:
        """See CanSave."""
        await self._run("query-status")  # connects again if need be, and refuses when the machine has ended
        await saving.save(self._qmp, target)

    async def fork(self, files: ForkFiles) -> int:
        """See CanFork."""
        await self._run("query-status")
        self._fork_news = forking.News()
        try:
            return await forking.fork(self._qmp, self._fork_news, files, self.pid)
        finally:
            self._fork_news = None

    async def add_layer(self, files: LayerFiles) -> int:
        """See CanFork."""
        await self._run("query-status")
        self._fork_news = forking.News()
        try:
            return await forking.add_layer(self._qmp, self._fork_news, files, self._folder / NVRAM)
        finally:
            self._fork_news = None

    async def settle_fork(self, name: str, is_on: bool) -> bool:
        """See CanFork."""
        await self._run("query-status")
        return await forking.settle(self._qmp, name, is_on)

    async def merge_layers(self, base: Path) -> None:
        """See CanFork."""
        await self._run("query-status")
        await layers.merge(self._qmp, base)

    async def attach_volume(self, volume: MachineVolume) -> None:
        """See CanAttachVolumes."""
        await self._run("query-status")
        await volumes.attach(self._qmp, volume)

    async def detach_volume(self, volume_id: str) -> None:
        """See CanAttachVolumes."""
        await self._run("query-status")
        await volumes.detach(self._qmp, volume_id)

    async def grow_volume(self, volume_id: str, size_gib: int) -> None:
        """See CanAttachVolumes."""
        await self._run("query-status")
        await volumes.grow(self._qmp, volume_id, size_gib)

    async def limit_volume(self, volume: MachineVolume) -> None:
        """See CanAttachVolumes."""
        await self._run("query-status")
        await volumes.limit(self._qmp, volume)

    async def grow_disk(self, size_gib: int) -> None:
        """See CanGrowDisk."""
        await self._run("query-status")
        await volumes.resize(self._qmp, DISK_THROTTLED, size_gib)

    async def cards(self) -> frozenset[str]:
        """See CanPlugCards."""
        await self._run("query-status")
        return await cards.cards(self._qmp)

    async def plug_card(self, nic: TapNic) -> None:
        """See CanPlugCards."""
        await self._run("query-status")
        await cards.plug(self._qmp, nic)

    async def unplug_card(self, mac: str) -> None:
        """See CanPlugCards."""
        await self._run("query-status")
        await cards.unplug(self._qmp, mac)

    async def set_link(self, up: bool) -> None:
        """See CanCutNetwork."""
        if await self._run("query-rx-filter"):  # lists the network cards
            await self._run("set_link", {"name": NETWORK, "up": up})

    async def set_limits(self, resources: Resources) -> None:
        """See CanLimitLive: CPU quota and weight, disk rates. Memory changes at the next start."""
        limits = throttle_limits(resources.disk_iops, resources.disk_mbps)
        await self._run("qom-set", {"path": f"/objects/{THROTTLE_GROUP}", "property": "limits", "value": limits})
        await asyncio.to_thread(self._cgroup.apply, machine_limits(resources))

    def process_use(self) -> ProcessUse | None:
        """See CanMeasure."""
        found = use_of(self.pid) if self._process.is_alive() else None
        return ProcessUse(*found) if found is not None else None

    async def disk_counts(self) -> DiskCounts:
        """See CanMeasure."""
        return disk_counts(await self._run("query-blockstats"))

    async def _run(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0) -> Any:
        if self._ended.is_set() or not self._process.is_alive():
            raise Conflict(
                f"The machine of {self.spec_id} has ended",
                why=f"{command} needs a running one",
                todo="Start the instance first",
                code="machine-ended",
            )
        async with self._connecting:
            if not self._qmp.is_connected:
                await self._reconnect()
        return await self._qmp.run(command, arguments, timeout_s=timeout_s)

    async def _reconnect(self) -> None:
        await self._qmp.close()
        try:
            self._qmp = await Qmp.open(self.spec_id, self._folder / QMP_SOCKET, _RECONNECT_TIMEOUT_S)
        except OSError as error:
            raise HostFailure(
                f"The machine of {self.spec_id} cannot be commanded",
                why=f"Its control socket does not answer: {error.strerror}",
                todo="Restart the instance; its process still runs",
                code="qmp-lost",
            ) from error
        self._listen()

    def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self._spawn(self._watch_events(self._qmp))

    async def _watch_events(self, qmp: Qmp) -> None:
        async for event in qmp.events():
            kind = str(event["event"])
            data = event.get("data") or {}
            if self._fork_news is not None and self._fork_news.takes(event):
                continue
            if kind == "SHUTDOWN":
                self._seen_reason = reason_of(str(data.get("reason")))
            elif kind == "BLOCK_IO_ERROR" and data.get("action") == "stop":
                self._feed.send(MachineEvent("starved"))
            elif kind in _EVENT_KINDS:
                self._feed.send(MachineEvent(_EVENT_KINDS[kind], detail=str(data.get("reason", ""))))

    async def _watch_end(self) -> None:
        await self._process.wait_end()
        # The last event may still be on its way through the connection, which ends with the process.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._qmp.until_closed()
                await asyncio.sleep(0)
        await self._qmp.close()
        await wait_unlocked(self._folder)
        await self._note_end()

    async def _note_end(self) -> None:
        known = await asyncio.to_thread(load, self._folder)
        commanded = self._record.is_commanded or (known is not None and known.is_commanded)
        record = replace(self._record, is_commanded=commanded)
        reason = EndReason.COMMANDED if commanded else self._seen_reason
        if reason is None:
            reason = await asyncio.to_thread(unseen_end, self._folder, record)
        detail = "the host ran out of memory for it" if self._cgroup.out_of_memory_kills() else ""
        self._record = replace(record, end_reason=reason)
        if self._folder.exists():
            await asyncio.to_thread(save, self._folder, self._record)
        with contextlib.suppress(HostFailure):  # the next start uses it again, and forgetting the instance removes it
            await remove_emptied(self._cgroup)
        self._ended.set()
        _log.info("machine ended", instance_id=self.spec_id, reason=reason, detail=detail)
        self._feed.send(MachineEvent("ended", reason, detail))

    async def _await_gone(self) -> None:
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                await self._process.wait_end()
                await self._ended.wait()
        except TimeoutError as error:
            raise HostFailure(
                f"The machine of {self.spec_id} does not die",
                why=f"Process {self.pid} was killed {_KILL_TIMEOUT_S:g} s ago and is still there, "
                "most likely waiting for a disk that does not answer",
                todo="Look at the host's disks (dmesg); the process goes when its disk answers",
                code="unkillable",
            ) from error

    async def _cut_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_CHECK_S)
            await asyncio.to_thread(cut_logs, self._folder)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a machine's watcher failed", instance_id=self.spec_id, exc_info=error)

    async def _let_go(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._qmp.close()
        self._process.close()

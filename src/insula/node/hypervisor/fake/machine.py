"""A fake machine: a state file, a console log, and a guest that answers on sockets, without any process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from insula.base.errors import Conflict, HostFailure
from insula.base.files import write_atomic
from insula.domain.instance import Resources
from insula.node.hypervisor.driver import (
    EndReason,
    ForkFiles,
    LayerFiles,
    MachineEvent,
    MachineStatus,
    MachineVolume,
    TapNic,
)
from insula.node.hypervisor.fake.guest import FakeGuest
from insula.node.hypervisor.fake.state import (
    FakeState,
    disk_identity,
    freeze_tree,
    frozen_files,
    grow_file,
    held_volume,
    load,
    update,
)
from insula.node.hypervisor.fake.use import MeasuredFake
from insula.node.hypervisor.feed import EventFeed

# How often a machine looks whether another process changed its state file; ends must be noticed within a second.
_FOLLOW_S = 0.1


def boot_lines(name: str) -> tuple[tuple[float, str], ...]:
    """What a boot prints, each with its place in time as a fraction of the whole."""
    return (
        (0.0, "SeaBIOS (version 1.16.2-fake)"),
        (0.05, "[    0.000000] Linux version 6.1.0-fake (root@insula) #1 SMP PREEMPT_DYNAMIC"),
        (0.1, "[    0.000000] Command line: console=ttyS0"),
        (0.3, "[    0.412345] Run /sbin/init as init process"),
        (0.3, "insula-phase: init"),
        (0.6, "insula-phase: network"),
        (0.8, "insula-phase: cloud-init"),
        (1.0, "insula-phase: ready"),
        (1.0, f"{name} login: "),
    )


class FakeMachine(MeasuredFake):
    """Implements Machine and every optional capability."""

    def __init__(self, folder: Path, state: FakeState) -> None:
        self._folder = folder
        self._state = state
        self._feed = EventFeed()
        self._ended = asyncio.Event()
        self._going_on = asyncio.Event()
        self._ready = asyncio.Event()
        self._one_client = asyncio.Lock()
        self._guest = FakeGuest(state.name, state.mac, folder / state.files, self._on_guest_power, state.spec_id)
        self._guest.broken_program = state.broken_program
        self._guest.is_frozen = state.is_frozen
        self._guest.on_freeze = self._on_freeze
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._boot: asyncio.Task[None] | None = None
        self.limits: Resources | None = None
        self.volume_limits: dict[str, MachineVolume] = {}
        if state.status is MachineStatus.RUNNING:
            self._going_on.set()

    @property
    def spec_id(self) -> str:
        return self._state.spec_id

    @property
    def pid(self) -> int:
        return self._state.pid

    @property
    def started_at_s(self) -> float:
        return self._state.started_at_s

    async def serve(self) -> None:
        """Open the sockets and let time pass for the guest; an earlier server of this folder loses its sockets."""
        for name, handler in (("agent.sock", self._serve_agent), ("console.sock", self._serve_console)):
            path = self._folder / name
            path.unlink(missing_ok=True)
            # Known before it serves, so that a start that is cancelled in between closes it.
            server = await asyncio.start_unix_server(handler, path, limit=64 * 1024 * 1024, start_serving=False)
            self._servers.append(server)
            await server.start_serving()
            path.chmod(0o600)
        self._begin_boot()
        self._spawn(self._follow())

    async def status(self) -> MachineStatus:
        self._refresh()
        return self._state.status

    async def press_power_button(self) -> None:
        self._require_alive()
        if self._ready.is_set() and not self._state.ignores_power_button:
            self._log("[   99.000000] reboot: Power down\n")
            self._end(EndReason.GUEST_SHUTDOWN)

    async def reset(self) -> None:
        self._require_alive()
        await self._reboot()

    async def kill(self) -> None:
        self._refresh()
        if self._state.status is not MachineStatus.ENDED:
            self._end(EndReason.COMMANDED)
        await self._close()

    async def wait(self) -> EndReason:
        await self._ended.wait()
        return self._state.end_reason or EndReason.CRASHED

    def events(self) -> AsyncIterator[MachineEvent]:
        return self._feed.listen()

    async def detach(self) -> None:
        await self._close()
        self._feed.close()

    async def pause(self) -> None:
        self._require_alive()
        if self._state.status is MachineStatus.RUNNING:
            self._going_on.clear()
            self._change(status=MachineStatus.PAUSED)
            self._feed.send(MachineEvent("paused"))

    async def starve(self) -> None:
        """Stand still as if the host's disk were full."""
        self._require_alive()
        self._going_on.clear()
        self._change(status=MachineStatus.STARVED)
        self._feed.send(MachineEvent("starved"))
        self._feed.send(MachineEvent("paused"))

    async def resume(self) -> None:
        self._require_alive()
        if self._state.status in {MachineStatus.PAUSED, MachineStatus.STARVED}:
            self._change(status=MachineStatus.RUNNING)
            self._going_on.set()
            self._feed.send(MachineEvent("resumed"))

    async def save(self, target: Path) -> None:
        self._require_alive()
        state = self._state
        saved = {"lines_written": state.lines_written, "link_up": state.link_up, "volumes": dict(state.volumes)}
        await asyncio.to_thread(write_atomic, target, json.dumps(saved).encode())

    async def fork(self, files: ForkFiles) -> int:
        await self.save(files.devices)
        guest = self._folder / self._state.files
        if guest.is_dir():
            await asyncio.to_thread(shutil.copytree, guest, frozen_files(files.devices))
        await self._turn_to(files.name, files.layer)
        return 0

    async def add_layer(self, files: LayerFiles) -> int:
        self._require_alive()
        if not files.layer.exists():
            raise HostFailure("The layer is not there", why=f"{files.layer} does not exist", code="layer-gone")
        nvram = self._folder / "nvram.qcow2"
        if nvram.exists():
            await asyncio.to_thread(shutil.copyfile, nvram, files.nvram)
        await self._turn_to(files.name, files.layer)
        return 0

    async def _turn_to(self, name: str, layer: Path) -> None:
        below, disk = self._state.disk, disk_identity(layer)
        if (self._folder / below).exists():
            await asyncio.to_thread(freeze_tree, self._folder, below)
        # The guest keeps its file tree when it starts again from the layer.
        tree = self._folder / disk
        tree.unlink(missing_ok=True)  # of a layer that is gone, whose number the new one has been given
        tree.symlink_to(self._state.files)
        self._change(disk=disk, layers=(*self._state.layers, name))

    async def settle_fork(self, name: str, is_on: bool) -> bool:
        self._require_alive()
        if is_on:
            await self.resume()
        return name in self._state.layers

    async def merge_layers(self, base: Path) -> None:
        """Its files are a copy already."""
        self._require_alive()
        if not base.exists():
            raise HostFailure("The layers of a disk could not be merged", why=f"{base} is gone", code="merge-failed")

    async def attach_volume(self, volume: MachineVolume) -> None:
        self._require_alive()
        if not volume.file.exists():
            raise HostFailure(f"There is no volume {volume.name}", why=f"{volume.file} is gone", code="volume-gone")
        self._change(volumes={**self._state.volumes, volume.id: held_volume(volume)})

    async def detach_volume(self, volume_id: str) -> None:
        self._require_alive()
        self._change(volumes={name: held for name, held in self._state.volumes.items() if name != volume_id})

    async def grow_volume(self, volume_id: str, size_gib: int) -> None:
        self._require_alive()
        grow_file(Path(self._state.volumes[volume_id]["file"]), size_gib)

    async def limit_volume(self, volume: MachineVolume) -> None:
        self._require_alive()
        self.volume_limits[volume.id] = volume

    async def grow_disk(self, size_gib: int) -> None:
        self._require_alive()
        grow_file(self._folder / "disk.qcow2", size_gib)

    async def cards(self) -> frozenset[str]:
        self._require_alive()
        return frozenset(self._state.cards)

    async def plug_card(self, nic: TapNic) -> None:
        self._require_alive()
        self._change(cards=tuple(dict.fromkeys((*self._state.cards, nic.mac))))

    async def unplug_card(self, mac: str) -> None:
        self._require_alive()
        self._change(cards=tuple(each for each in self._state.cards if each != mac))

    async def set_link(self, up: bool) -> None:
        self._require_alive()
        self._change(link_up=up)

    async def set_limits(self, resources: Resources) -> None:
        self._require_alive()
        self.limits = resources

    def _require_alive(self) -> None:
        self._refresh()
        if self._state.status is MachineStatus.ENDED:
            raise Conflict(
                f"The machine of {self._state.name} has ended",
                why=f"It ended: {self._state.end_reason}",
                todo="Start the instance first",
                code="machine-ended",
            )

    def _change(self, **fields: Any) -> None:
        self._adopt_state(update(self._folder, self._state.pid, **fields))

    def _refresh(self) -> None:
        """Take over what another process wrote; a vanished folder means that the machine is gone, too."""
        if self._state.status is not MachineStatus.ENDED:
            self._adopt_state(load(self._folder))

    def _adopt_state(self, found: FakeState | None) -> None:
        if found is None or found.pid != self._state.pid:
            self._note_end(EndReason.CRASHED)
        elif found.status is MachineStatus.ENDED:
            self._note_end(found.end_reason or EndReason.CRASHED)
        else:
            self._state = found

    def _end(self, reason: EndReason) -> None:
        self._change(status=MachineStatus.ENDED, end_reason=reason)

    def _note_end(self, reason: EndReason) -> None:
        if self._ended.is_set():
            return
        self._state = replace(self._state, status=MachineStatus.ENDED, end_reason=reason)
        self._ended.set()
        self._feed.send(MachineEvent("ended", reason))
        # The guest's connections break at once, as they do when QEMU is gone.
        for task in self._tasks:
            task.cancel()
        for server in self._servers:
            server.close()

    def _on_freeze(self, is_frozen: bool) -> None:
        self._change(is_frozen=is_frozen)

    def _on_guest_power(self, mode: str) -> None:
        if mode == "reboot":
            self._spawn(self._reboot())
        else:
            self._end(EndReason.GUEST_SHUTDOWN)

    async def _reboot(self) -> None:
        await self._guest.close()
        self._guest.is_frozen = False
        self._ready.clear()
        self._change(booted_at_s=time.time(), lines_written=0, is_frozen=False)
        self._feed.send(MachineEvent("reset"))
        self._begin_boot()

    def _begin_boot(self) -> None:
        if self._boot is not None:
            self._boot.cancel()
        self._boot = self._spawn(self._play_boot())

    async def _play_boot(self) -> None:
        if self._state.task:
            await self._do_task()
            return
        lines = boot_lines(self._state.name)
        for number, (fraction, line) in enumerate(lines):
            await self._sleep_until(self._state.booted_at_s + fraction * self._state.boot_s)
            await self._going_on.wait()
            if self._state.never_ready and fraction > 0.3:
                return
            if number >= self._state.lines_written:
                self._log(line if line.endswith(": ") else f"{line}\n")
        self._change(lines_written=len(lines))
        self._ready.set()

    async def _do_task(self) -> None:
        """Its guest's own programs never run; one that is told to break does so half-way."""
        await self._sleep_until(self._state.booted_at_s + self._state.boot_s)
        if not self._state.never_ready:
            broken = self._state.broken_program == self._state.task
            self._log(f"insula-{self._state.task}: {'it was not cleaned' if broken else 'done'}\n")
            self._end(EndReason.GUEST_SHUTDOWN)

    async def _follow(self) -> None:
        while not self._ended.is_set():
            if self._state.crash_at_s and time.time() >= self._state.crash_at_s:
                self._end(EndReason.CRASHED)
            await asyncio.sleep(_FOLLOW_S)
            self._refresh()

    async def _sleep_until(self, moment_s: float) -> None:
        remaining_s = moment_s - time.time()
        if remaining_s > 0:
            await asyncio.sleep(remaining_s)

    def _log(self, text: str) -> None:
        with (self._folder / "console.log").open("a") as log:
            log.write(text)

    async def _serve_agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(self._talk_agent(reader, writer), writer)

    async def _talk_agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._one_client:
            while line := await reader.readline():
                await self._ready.wait()
                await self._going_on.wait()
                reply = await self._guest.answer(line)
                writer.write(reply)
                await writer.drain()

    async def _serve_console(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(self._talk_console(reader, writer), writer)

    async def _talk_console(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._going_on.wait()
            writer.write(data)
            self._log(data.decode("utf-8", "replace"))
            await writer.drain()

    async def _serve(self, talk: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        task = self._spawn(talk)
        try:
            await asyncio.wait({task})
        finally:
            writer.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            with contextlib.suppress(ConnectionError):  # a client went away in the middle of a reply
                task.result()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._guest.close()
        await asyncio.sleep(0)  # lets the connections' transports close before a caller ends its loop

"""Keeps one instance at what its record says: on or off, through crashes and restarts of the service.

All commands that change the instance hold its lock, so that two never interleave; looking at it never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from insula.base.errors import GuestFailure, InsulaError, Unsupported
from insula.base.log import get_logger
from insula.domain.instance import BootPhase, RestartPolicy
from insula.node.agent import refusals
from insula.node.agent.boots import Boots
from insula.node.agent.console import ConsoleHub
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import set_time
from insula.node.agent.host_boot import host_boot_id
from insula.node.agent.launch import memory_file
from insula.node.agent.phases import RENEW, WAKE
from insula.node.agent.power_down import restart_guest, shut_down
from insula.node.agent.records import BootRecord, InstanceRecord
from insula.node.agent.restart import RestartCounter
from insula.node.agent.surroundings import Surroundings
from insula.node.hypervisor.driver import CanPause, EndReason, Machine, MachineEvent, MachineStatus
from insula.protocol.node import BootReport, InstanceReport, Power, StopReport, StopWay

_log = get_logger(__name__)


class InstanceKeeper:
    """One instance on this node."""

    def __init__(self, record: InstanceRecord, around: Surroundings) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self._around = around
        self._save_lock = asyncio.Lock()
        self._folder = around.records.folder_of(record.spec.id)
        self._machine: Machine | None = None
        self._paused = False
        self._network_task: asyncio.Task[Any] | None = None
        self._counter = RestartCounter(around.rules)
        self._wake = asyncio.Event()  # ends a wait for the next restart
        self._restart_pending = False
        self.agent = GuestAgent(self._folder / "agent.sock", record.spec.name)
        self._boots = Boots(self, self._folder, around.background)
        self.console = ConsoleHub(self._folder / "console.sock", record.spec.name, around.background)

    # Looking

    @property
    def power(self) -> Power:
        if self._machine is not None:
            if self._paused:
                return Power.PAUSED
            return Power.ON if self._boots.is_ready else Power.BOOTING
        if self._restart_pending:
            return Power.BOOTING
        if self.record.saved is not None:
            return Power.HIBERNATED
        if self.record.crashed:
            return Power.CRASHED
        return Power.OFF if (self._folder / "disk.qcow2").exists() else Power.ABSENT

    @property
    def is_off(self) -> bool:
        return self._machine is None and not self._restart_pending

    def report(self) -> InstanceReport:
        """What is seen of it now."""
        machine = self._machine
        return InstanceReport(
            id=self.record.spec.id,
            power=self.power,
            pid=machine.pid if machine is not None else 0,
            started_at_s=machine.started_at_s if machine is not None else 0.0,
            restarts=self.record.restarts,
            problem=self.record.problem,
            phases=self._boots.phases,
        )

    def require_off(self, wish: str) -> None:
        """Raise Conflict unless the machine is off."""
        if not self.is_off:
            raise refusals.is_on(self.record.spec.name, self.power, wish)

    def require_on(self) -> GuestAgent:
        """The agent of a running machine. Raises Conflict when it is off, GuestFailure when its image has no agent."""
        self._require_machine()
        if self._paused:
            raise refusals.stands_still(self.record.spec.name)
        if not self._has_agent:
            raise refusals.has_no_agent(self.record.spec.name, self.record.spec.image)
        return self.agent

    def _require_machine(self) -> Machine:
        if self._machine is None:
            raise refusals.is_off(self.record.spec.name, self.power)
        return self._machine

    # Commands; the caller holds the lock

    async def change(self, **fields: Any) -> None:
        """Change the record and write it."""
        self.record = replace(self.record, **fields)
        async with self._save_lock:
            await asyncio.to_thread(self._around.records.save, self.record)
        self.publish()

    def publish(self) -> None:
        self._around.changes.publish(self.report())

    async def adopt(self) -> bool:
        """Take over the machine that runs already, if one does."""
        machine = await self._around.launcher.adopt(self.record)
        if machine is None:
            return False
        if self.record.is_renewing:  # it has another's identity and no network; what follows boots from the disk
            await machine.kill()
            return False
        if self.record.saved is None and (not self.record.desired_on or self.record.crashed):
            await self.change(desired_on=True, crashed=False, problem="")
        self._take(machine)
        self._paused = await machine.status() is MachineStatus.PAUSED
        self._boots.watch_on(machine.started_at_s)
        self.publish()
        return True

    async def settle(self) -> None:
        """At the service's start, when no machine runs: what should be on comes back, what ended is taken note of."""
        if not self.record.desired_on:
            await self._around.launcher.put_down(self.record)
            self.publish()
            return
        if self.record.host_boot_id != host_boot_id():
            _log.info("the host has restarted; bringing an instance back", instance_id=self.record.spec.id)
            await self._restart_now()
            return
        end = await self._around.launcher.last_end(self.record)
        await self._after_end(end or EndReason.CRASHED, lived_s=0.0)

    async def start(self) -> None:
        """Start the machine, from its saved memory if there is one; one that is paused goes on."""
        if self._machine is not None:
            if self._paused:
                await self._go_on(self._machine)
                await self._note_start()
            return
        self._counter.reset()
        self._wake.set()
        await self._start_machine()
        await self._note_start()

    async def stop(self, graceful_s: float) -> StopReport:
        """Stop it for good; the restart policy does not bring it back."""
        self._wake.set()
        self._restart_pending = False
        await self.change(desired_on=False, crashed=False, problem="")
        machine = self._machine
        if machine is None:
            await self._around.launcher.put_down(self.record)
            return StopReport(StopWay.ALREADY_OFF, 0)
        if self._paused and graceful_s > 0:
            await self._go_on(machine)  # a guest that stands still cannot shut down
        report = await shut_down(machine, self._agent_if_any(), graceful_s)
        await self._let_go("It was stopped")
        self.publish()
        return report

    async def reboot(self, graceful_s: float) -> StopReport:
        """Boot the guest anew; a machine that is off or crashed is started."""
        machine = self._machine
        if machine is None:
            await self.start()
            return StopReport(StopWay.ALREADY_OFF, 0)
        self._boots.new_boot.clear()
        report = await restart_guest(machine, self._agent_if_any(), graceful_s, self._boots.new_boot)
        if not self._boots.new_boot.is_set():  # it ended instead of being reset
            await self._let_go("It was rebooted")
            self._restart_pending = True  # seen as booting in between, not as off
            try:
                await self.start()
            finally:
                self._restart_pending = False
                self.publish()
        return report

    async def pause(self) -> None:
        """Let the guest stand still, its memory kept; nothing happens when it does already."""
        machine = self._require_machine()
        if not isinstance(machine, CanPause):
            raise Unsupported(f"The machine of {self.record.spec.name} cannot be paused", code="no-pause")
        await machine.pause()
        self._paused = True
        self.publish()

    async def resume(self) -> None:
        """Let a paused guest go on; nothing happens when it does already."""
        await self._go_on(self._require_machine())

    async def hibernate(self) -> None:
        """Save the guest's memory to a file and end its machine. Repeatable from any point at which it was cut off."""
        if self._machine is None and self.record.saved is not None:
            return
        machine = self._require_machine()
        if self.record.saved is None:
            await self.pause()
            saved = await self._around.launcher.save(self.record, machine)
            await self.change(saved=saved, desired_on=False, problem="")
        await machine.kill()
        await self._let_go("It was hibernated")
        self.publish()

    async def discard_memory(self) -> None:
        """Forget the saved memory; the next start boots from the disk. May be repeated."""
        if self.record.saved is not None:
            await self.change(saved=None)
        await asyncio.to_thread(memory_file(self._folder).unlink, missing_ok=True)
        self.publish()

    async def await_ready(self, timeout_s: float, on_phase: Callable[[BootPhase], None]) -> BootReport:
        """See NodeApi; does not need the lock."""

        def why_not() -> str:
            return "" if self._machine is not None else self.record.problem or f"It is {self.power}"

        return await self._boots.await_ready(timeout_s, on_phase, why_not)

    async def detach(self) -> None:
        """Let go of the machine without ending it: the service stops."""
        await self.agent.close()
        await self.console.close()
        if self._machine is not None:
            await self._machine.detach()

    def _agent_if_any(self) -> GuestAgent | None:
        return self.agent if self._has_agent else None

    @property
    def _has_agent(self) -> bool:
        return self.record.image is None or self.record.image.image.has_agent

    # The machine

    async def _start_machine(self) -> None:
        await self._around.templates.make_room(self.record.spec.resources)
        if self.record.template and await self._start_from_template(self.record.template):
            return
        if self.record.is_renewing:
            await self.change(is_renewing=False)
        machine = await self._around.launcher.start(self.record)
        self._restart_pending = False
        self._take(machine)
        if self.record.saved is None:
            self._boots.watch(machine.started_at_s, 0)
            return
        self._paused = True
        await self.change(boot=BootRecord(machine.started_at_s, first=WAKE))
        self._boots.watch(machine.started_at_s, 0, WAKE)
        await self._go_on(machine)

    async def _start_from_template(self, key: str) -> bool:
        """Whether that worked; if not, it boots from the disk, which is always right."""
        # From here on the guest may change its disk, and the template's memory must never meet that.
        await self.change(template="", is_renewing=True)
        self._restart_pending = True  # seen as booting, not as off
        try:
            machine = await self._around.templates.first_starts.start(self.record, key, self.agent)
        except (InsulaError, OSError) as error:
            _log.warning("booting instead of a template", instance_id=self.record.spec.id, problem=str(error))
            return False
        finally:
            self._restart_pending = False
        self._take(machine)
        await self.change(is_renewing=False, boot=BootRecord(machine.started_at_s, first=RENEW))
        self._boots.watch(machine.started_at_s, 0, RENEW)
        return True

    async def _go_on(self, machine: Machine) -> None:
        # From here on the guest changes its disk, and memory that was saved before must never meet that again.
        if self.record.saved is not None:
            await self.discard_memory()
        if isinstance(machine, CanPause):
            await machine.resume()
        self._paused = False
        self.publish()

    async def _note_start(self, **fields: Any) -> None:
        boot = self.record.boot  # a fast guest may be ready already
        is_new = boot is not None and self._machine is not None and boot.started_at_s >= self._machine.started_at_s
        fields |= {"desired_on": True, "crashed": False, "problem": "", "host_boot_id": host_boot_id()}
        await self.change(boot=boot if is_new else None, **fields)

    def _take(self, machine: Machine) -> None:
        self._machine = machine
        self._paused = False
        # Asked for now, so that nothing that happens before the task runs is missed.
        self._around.background.spawn(self._follow(machine, machine.events()), f"machine of {self.record.spec.name}")
        self._network_task = self._around.background.spawn(
            self._follow_network(machine), f"network of {self.record.spec.name}"
        )

    async def _let_go(self, why: str) -> None:
        """The machine has ended: everything that belonged to its life goes. The caller says at once what follows."""
        if self._network_task is not None:
            self._network_task.cancel()
        await self._boots.end(why)
        await self.agent.close()
        await self.console.close()
        await self._around.launcher.put_down(self.record)
        self._machine = None
        self._paused = False

    async def _follow(self, machine: Machine, events: AsyncIterator[MachineEvent]) -> None:
        detail = ""
        async for event in events:
            if event.kind == "reset":
                if self._machine is machine:
                    await self._boots.begin_next()
            elif event.kind in {"paused", "resumed"}:
                self._paused = event.kind == "paused"
                self.publish()
                if not self._paused:
                    self._around.background.spawn(self._mend_clock(), f"clock of {self.record.spec.name}")
            detail = event.detail
        reason = await machine.wait()
        async with self.lock:
            if self._machine is machine:
                lived_s = max(0.0, time.time() - machine.started_at_s)
                await self._let_go("Its machine ended" if reason is EndReason.GUEST_SHUTDOWN else "Its machine crashed")
                await self._after_end(reason, lived_s, detail)

    async def _mend_clock(self) -> None:
        """A guest that stood still does not know how long."""
        if self._has_agent:
            with contextlib.suppress(GuestFailure, Unsupported):
                await set_time(self.agent)

    async def _follow_network(self, machine: Machine) -> None:
        part = await self._around.launcher.network_broken(self.record)
        if self._machine is machine:
            name = self.record.spec.name
            problem = (
                f"Its network is broken: {part or 'its record'} is gone. Reconnect it: `insula stop` and `start {name}`"
            )
            await self.change(problem=problem)

    async def _after_end(self, reason: EndReason, lived_s: float, detail: str = "") -> None:
        """Decide what follows a machine's end that nobody commanded."""
        if self.record.saved is not None:  # between saving and ending it, somebody else ended it
            self.publish()
            return
        if reason is not EndReason.CRASHED:
            await self.change(desired_on=False, crashed=False, problem="")
            return
        crashed = f"Its machine crashed ({detail})" if detail else "Its machine crashed"
        if self.record.spec.restart_policy is RestartPolicy.NEVER:
            await self.change(crashed=True, problem=f"{crashed}, and its restart policy is never")
            return
        delay_s = self._counter.died(lived_s)
        if delay_s is None:
            count = self._counter.quick_deaths
            problem = f"{crashed} {count} times in a row soon after its start; it is not started again"
            await self.change(crashed=True, problem=problem)
            return
        self._restart_pending = True
        self._wake.clear()
        await self.change(problem=f"{crashed}; it starts again in {delay_s:g} s")
        self._around.background.spawn(self._restart_after(delay_s), f"restart of {self.record.spec.name}")

    async def _restart_after(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
            return  # a command has taken over
        except TimeoutError:
            pass
        async with self.lock:
            if self._restart_pending and self._machine is None and not self._wake.is_set():
                await self._restart_now()

    async def _restart_now(self) -> None:
        restarts = self.record.restarts + 1
        try:
            await self._start_machine()
        except InsulaError as error:
            _log.error("an instance could not be started again", instance_id=self.record.spec.id, problem=str(error))
            self._restart_pending = False
            await self._after_end(EndReason.CRASHED, lived_s=0.0)
            await self.change(problem=f"{self.record.problem}: {error}", restarts=restarts)
            return
        await self._note_start(restarts=restarts)

"""Keeps one instance at what its record says: on or off, through crashes and restarts of the service.

All commands that change the instance hold its lock, so that two never interleave; looking at it never waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from insula.base.errors import InsulaError, Unsupported
from insula.base.log import get_logger
from insula.domain.instance import BootPhase
from insula.node.agent import boost, refusals
from insula.node.agent.becoming import Becoming, begin
from insula.node.agent.boots import Boots
from insula.node.agent.console import ConsoleHub
from insula.node.agent.guest import GuestAgent
from insula.node.agent.host_boot import host_boot_id
from insula.node.agent.launch import memory_file
from insula.node.agent.life import Life
from insula.node.agent.phases import WAKE
from insula.node.agent.power_down import restart_guest, shut_down
from insula.node.agent.records import BootRecord, InstanceRecord
from insula.node.agent.revival import Revival
from insula.node.agent.surroundings import Surroundings
from insula.node.hypervisor.driver import CanLimitLive, CanPause, EndReason, Machine
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
        self._life: Life | None = None
        self._revival = Revival(self, around.rules, around.background)
        self.agent = GuestAgent(self._folder / "agent.sock", record.spec.name)
        self._boots = Boots(self, self._folder, around)
        self.console = ConsoleHub(self._folder / "console.sock", record.spec.name, around.background)

    # Looking

    @property
    def power(self) -> Power:
        if self._life is not None:
            if self._life.is_paused:
                return Power.PAUSED
            return Power.ON if self._boots.is_ready else Power.BOOTING
        if self._revival.is_pending:
            return Power.BOOTING
        if self.record.saved is not None:
            return Power.HIBERNATED
        if self.record.crashed:
            return Power.CRASHED
        return Power.OFF if (self._folder / "disk.qcow2").exists() else Power.ABSENT

    @property
    def is_off(self) -> bool:
        return self._life is None and not self._revival.is_pending

    @property
    def machine(self) -> Machine | None:
        return self._life.machine if self._life is not None else None

    def report(self) -> InstanceReport:
        """What is seen of it now."""
        machine = self.machine
        return InstanceReport(
            id=self.record.spec.id,
            power=self.power,
            pid=machine.pid if machine is not None else 0,
            started_at_s=machine.started_at_s if machine is not None else 0.0,
            restarts=self.record.restarts,
            problem=refusals.STARVED if self._life is not None and self._life.is_starved else self.record.problem,
            phases=self._boots.phases,
        )

    def require_off(self, wish: str) -> None:
        """Raise Conflict unless the machine is off."""
        if not self.is_off:
            raise refusals.is_on(self.record.spec.name, self.power, wish)

    def require_on(self) -> GuestAgent:
        """The agent of a running machine. Raises Conflict when it is off, GuestFailure when its image has no agent."""
        if self._require_settled().is_paused:
            raise refusals.stands_still(self.record.spec.name)
        if not self.has_agent:
            raise refusals.has_no_agent(self.record.spec.name, self.record.spec.image)
        return self.agent

    def _require_settled(self) -> Life:
        """What runs, once its guest is nobody else's. Raises Conflict."""
        if self._life is None:
            raise refusals.is_off(self.record.spec.name, self.power)
        if self.record.is_renewing:
            raise refusals.is_renewing(self.record.spec.name)
        return self._life

    def require_machine(self) -> Machine:
        """The machine, once its guest is nobody else's. Raises Conflict."""
        return self._require_settled().machine

    # Commands; the caller holds the lock

    async def change(self, **fields: Any) -> None:
        """Change the record and write it."""
        self.record = replace(self.record, **fields)
        async with self._save_lock:
            await asyncio.to_thread(self._around.records.save, self.record)
        self.publish()

    async def apply_limits(self) -> None:
        """Hold a machine that runs to its record; one that still boots is held to it when it is ready."""
        if self._life is not None and self._boots.is_ready and isinstance(self._life.machine, CanLimitLive):
            await self._life.machine.set_limits(self.record.spec.resources)

    def publish(self) -> None:
        self._around.changes.publish(self.report())

    async def adopt(self) -> bool:
        """Take over the machine that runs already, if one does."""
        machine = await self._around.launcher.adopt(self.record)
        if machine is None:
            return False
        if self.record.is_renewing:  # it has another's identity and no network
            await machine.kill()
            return False
        if self.record.saved is None and (not self.record.desired_on or self.record.crashed):
            await self.change(desired_on=True, crashed=False, problem="")
        life = self._take(machine)
        await self._around.layers.settle(self, machine)
        await self._around.volumes.settle(self, machine)
        life.go_on_as(await machine.status())
        self._boots.watch_on(machine.started_at_s)
        self._limit_when_ready(life, machine.started_at_s)
        self.publish()
        return True

    async def settle(self) -> None:
        """At the service's start, when no machine runs: what should be on comes back, what ended is taken note of."""
        await self._around.layers.settle(self, None)
        if not self.record.desired_on or self.record.is_lost:
            await self._around.launcher.put_down(self.record)
            self.publish()
            return
        if self.record.is_renewing or self.record.host_boot_id != host_boot_id():
            _log.info("an instance did not survive that we were away; it starts", instance_id=self.record.spec.id)
            await self._revival.start_now(self.record.restarts + 1)
            return
        end = await self._around.launcher.last_end(self.record)
        await self._revival.after_end(end or EndReason.CRASHED, lived_s=0.0)

    async def start(self) -> None:
        """Start the machine, from its saved memory if there is one; one that is paused goes on."""
        if self._life is not None:
            if self._life.is_paused:
                await self._go_on(self._life)
                await self._note_start()
            return
        self._revival.forgive()
        await self.start_machine()

    async def stop(self, graceful_s: float) -> StopReport:
        """Stop it for good; the restart policy does not bring it back."""
        self._revival.take_over()
        await self.change(desired_on=False, crashed=False, problem="")
        life = self._life
        if life is None:
            await self._around.pool.end_claimed(self.record.spec.id)
            await self._around.launcher.put_down(self.record)
            return StopReport(StopWay.ALREADY_OFF, 0)
        if self.record.is_renewing:
            graceful_s = 0  # nothing in it is worth a shutdown, and it may hang
        if life.is_paused and graceful_s > 0:
            await self._go_on(life)  # a guest that stands still cannot shut down
        report = await shut_down(life.machine, self._agent_if_any(), graceful_s)
        await self._let_go("It was stopped")
        self.publish()
        return report

    async def reboot(self, graceful_s: float) -> StopReport:
        """Boot the guest anew; a machine that is off or crashed is started."""
        if self._life is None:
            await self.start()
            return StopReport(StopWay.ALREADY_OFF, 0)
        machine = self.require_machine()
        self._boots.new_boot.clear()
        report = await restart_guest(machine, self._agent_if_any(), graceful_s, self._boots.new_boot)
        if not self._boots.new_boot.is_set():  # it ended instead of being reset
            await self._let_go("It was rebooted")
            self._revival.is_pending = True  # seen as booting in between, not as off
            try:
                await self.start()
            finally:
                self._revival.is_pending = False
                self.publish()
        return report

    async def pause(self) -> None:
        """Let the guest stand still, its memory kept; nothing happens when it does already."""
        life = self._require_settled()
        if not isinstance(life.machine, CanPause):
            raise Unsupported(f"The machine of {self.record.spec.name} cannot be paused", code="no-pause")
        await life.machine.pause()
        life.is_paused, life.is_starved = True, False
        self.publish()

    async def resume(self) -> None:
        """Let a paused guest go on; nothing happens when it does already."""
        await self._go_on(self._require_settled())

    async def hibernate(self) -> None:
        """Save the guest's memory to a file and end its machine. Repeatable from any point at which it was cut off."""
        if self._life is None and self.record.saved is not None:
            return
        machine = self._require_settled().machine
        if len(self.record.spec.nics) > 1:
            raise refusals.has_cards(self.record.spec.name)
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
            return "" if self._life is not None else self.record.problem or f"It is {self.power}"

        return await self._boots.await_ready(timeout_s, on_phase, why_not)

    async def detach(self) -> None:
        """Let go of the machine without ending it: the service stops."""
        await self.agent.close()
        await self.console.close()
        if self._life is not None and self.record.is_renewing:
            await self._life.machine.kill()  # without us it would stay another's guest for ever
        elif self._life is not None:
            await self._life.machine.detach()

    def _agent_if_any(self) -> GuestAgent | None:
        return self.agent if self.has_agent else None

    @property
    def has_agent(self) -> bool:
        return self.record.image is None or self.record.image.image.has_agent

    # The machine

    async def start_machine(self, **fields: Any) -> None:
        """Start it whichever way it starts now, and note that, with further fields of the record."""
        if (becoming := await begin(self, self._around)) is not None:
            self._let_become(becoming)
        else:
            await self._start_from_disk()
        await self._note_start(**fields)

    async def _start_from_disk(self) -> None:
        if self.record.is_renewing:
            await self.change(is_renewing=False, identity=None)
        async with self._around.memories.for_waking(self.record) as frozen:
            machine = await self._around.launcher.start(self.record, frozen)
        life = self._take(machine)
        if self.record.saved is None:
            self._boots.watch(machine.started_at_s, 0)
            self._limit_when_ready(life, machine.started_at_s)
            return
        life.is_paused = True
        await self.change(boot=BootRecord(machine.started_at_s, first=WAKE))
        self._boots.watch(machine.started_at_s, 0, WAKE)
        self._limit_when_ready(life, machine.started_at_s)
        await self._go_on(life)

    def _let_become(self, becoming: Becoming) -> None:
        life, boot = self._take(becoming.machine), becoming.boot
        is_itself = asyncio.Event()
        self._boots.watch(boot.started_at_s, boot.offset, boot.first, is_itself)
        life.spawn(self._renew(life, becoming, is_itself), "renewal")
        self._limit_when_ready(life, boot.started_at_s)

    async def _renew(self, life: Life, becoming: Becoming, is_itself: asyncio.Event) -> None:
        """Does not hold the lock: a guest that hangs meanwhile can be stopped."""
        try:
            await becoming.become()
        except (InsulaError, OSError) as error:
            _log.warning("a guest did not become itself", instance_id=self.record.spec.id, problem=str(error))
            life.problem = str(error)
            await life.machine.kill()  # what follows an end while renewing is a boot, or nothing
            return
        await self.change(is_renewing=False, point="", identity=None, boot=becoming.boot)
        is_itself.set()

    def _limit_when_ready(self, life: Life, since_s: float) -> None:
        ready = self.await_ready(boost.LONGEST_S, lambda phase: None)
        life.spawn(boost.end_when(ready, life.machine, lambda: self.record.spec.resources, since_s), "limits")

    async def _go_on(self, life: Life) -> None:
        # From here on the guest changes its disk, and memory that was saved before must never meet that again.
        if self.record.saved is not None:
            await self.discard_memory()
        if isinstance(life.machine, CanPause):
            await life.machine.resume()
        life.is_paused = life.is_starved = False
        self.publish()

    async def _note_start(self, **fields: Any) -> None:
        boot = self.record.boot  # a fast guest may be ready already
        is_new = boot is not None and self._life is not None and boot.started_at_s >= self._life.machine.started_at_s
        fields |= {"desired_on": True, "crashed": False, "problem": "", "host_boot_id": host_boot_id()}
        await self.change(boot=boot if is_new else None, **fields)

    def _take(self, machine: Machine) -> Life:
        self._revival.is_pending = False
        self._life = Life(machine, self, self._around)
        return self._life

    async def _let_go(self, why: str) -> None:
        """The machine has ended. The caller says at once what follows."""
        await self._boots.end(why)
        await self._part()

    async def _part(self) -> None:
        """Everything that belonged to the machine's life goes."""
        if self._life is not None:
            self._life.end()
        await self.agent.close()
        await self.console.close()
        await self._around.launcher.put_down(self.record)
        self._life = None

    # What happens to the machine

    async def was_reset(self, life: Life) -> None:
        """The guest begins to boot."""
        if self.record.is_renewing:
            await life.machine.kill()
        elif self._life is life:
            await self._boots.begin_next()

    async def has_room(self, life: Life) -> None:
        """There is room again for what the guest could not write."""
        async with self.lock:
            if self._life is life and life.is_starved:
                await self._go_on(life)

    async def has_ended(self, life: Life, reason: EndReason, detail: str) -> None:
        """Nobody commanded it, unless it is not ours any more."""
        async with self.lock:
            if self._life is not life:
                return
            if self.record.is_lost:
                await self._part()
                await self.change(desired_on=False, problem="It did not become itself: delete it and fork again")
                await self._boots.end(life.problem or "Its machine ended", "renew-failed")
                return
            if self.record.is_renewing:
                async with self._boots.replaced():
                    await self._part()
                    await self._revival.start_now(self.record.restarts)
                return
            lived_s = max(0.0, time.time() - life.machine.started_at_s)
            await self._let_go("Its machine ended" if reason is EndReason.GUEST_SHUTDOWN else "Its machine crashed")
            await self._revival.after_end(reason, lived_s, detail)

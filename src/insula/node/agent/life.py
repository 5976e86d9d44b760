"""The life of one machine: what happens to it between its start and its end.

A guest that writes what the host has no room for stands still, and loses nothing. It goes on by itself once there is
room again, unless somebody paused it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import mend_clock
from insula.node.agent.host import has_room
from insula.node.agent.records import InstanceRecord
from insula.node.agent.surroundings import Surroundings
from insula.node.hypervisor.driver import EndReason, Machine, MachineEvent, MachineStatus

_ROOM_CHECK_S = 1.0


class Owner(Protocol):
    """The instance whose machine it is."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def has_agent(self) -> bool: ...

    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...
    async def was_reset(self, life: Life) -> None: ...
    async def has_room(self, life: Life) -> None: ...  # there is room again for what the guest writes
    async def has_ended(self, life: Life, reason: EndReason, detail: str) -> None: ...


class Life:
    """Follows a machine, and tells its owner. What it does meanwhile ends with :meth:`end`."""

    def __init__(self, machine: Machine, owner: Owner, around: Surroundings) -> None:
        self.machine = machine
        self.is_paused = False
        self.is_starved = False  # it stands still for want of room on the host
        self.problem = ""  # why it is going to be killed
        self._owner = owner
        self._around = around
        self._works: list[asyncio.Task[Any]] = []
        # Asked for now, so that nothing that happens before the task runs is missed.
        events = machine.events()
        around.background.spawn(self._follow(events), f"machine of {owner.record.spec.name}")

    def spawn(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Do this for as long as the machine lives."""
        self._works.append(self._around.background.spawn(work, f"{what} of {self._owner.record.spec.name}"))

    def go_on_as(self, status: MachineStatus) -> None:
        """Its machine was found like this."""
        self.is_paused = status in {MachineStatus.PAUSED, MachineStatus.STARVED}
        if status is MachineStatus.STARVED:
            self.starve()

    def starve(self) -> None:
        """Its guest has been stopped for want of room on the host."""
        self.is_starved = True
        self.spawn(self._await_room(), "room")

    def end(self) -> None:
        """Its machine has ended, or is going to be another's."""
        for work in self._works:
            work.cancel()

    async def _follow(self, events: AsyncIterator[MachineEvent]) -> None:
        owner, detail = self._owner, ""
        async for event in events:
            if event.kind == "reset":
                await owner.was_reset(self)
            elif event.kind == "starved":
                self.starve()
            elif event.kind in {"paused", "resumed"}:
                self.is_paused = event.kind == "paused"
                self.is_starved = self.is_starved and self.is_paused
                owner.publish()
                if not self.is_paused and owner.has_agent and not owner.record.is_renewing:
                    self.spawn(mend_clock(owner.agent), "clock")
            detail = event.detail
        await owner.has_ended(self, await self.machine.wait(), detail)

    async def _await_room(self) -> None:
        folder = self._around.records.folder_of(self._owner.record.spec.id)
        while self.is_starved:
            await asyncio.sleep(_ROOM_CHECK_S)
            if await asyncio.to_thread(has_room, folder):
                await self._owner.has_room(self)
                return

"""The life of one machine: what happens to it between its start and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import mend_clock
from insula.node.agent.records import InstanceRecord
from insula.node.agent.surroundings import Surroundings
from insula.node.hypervisor.driver import EndReason, Machine, MachineEvent


class Owner(Protocol):
    """The instance whose machine it is."""

    record: InstanceRecord
    agent: GuestAgent

    @property
    def has_agent(self) -> bool: ...

    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...
    async def was_reset(self, life: Life) -> None: ...
    async def has_ended(self, life: Life, reason: EndReason, detail: str) -> None: ...


class Life:
    """Follows a machine, and tells its owner. What it does meanwhile ends with :meth:`end`."""

    def __init__(self, machine: Machine, owner: Owner, around: Surroundings) -> None:
        self.machine = machine
        self.is_paused = False
        self.problem = ""  # why it is going to be killed
        self._owner = owner
        self._around = around
        self._works: list[asyncio.Task[Any]] = []
        # Asked for now, so that nothing that happens before the task runs is missed.
        events = machine.events()
        around.background.spawn(self._follow(events), f"machine of {owner.record.spec.name}")
        self.spawn(self._follow_network(), "network")

    def spawn(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Do this for as long as the machine lives."""
        self._works.append(self._around.background.spawn(work, f"{what} of {self._owner.record.spec.name}"))

    def end(self) -> None:
        """Its machine has ended, or is going to be another's."""
        for work in self._works:
            work.cancel()

    async def _follow(self, events: AsyncIterator[MachineEvent]) -> None:
        owner, detail = self._owner, ""
        async for event in events:
            if event.kind == "reset":
                await owner.was_reset(self)
            elif event.kind in {"paused", "resumed"}:
                self.is_paused = event.kind == "paused"
                owner.publish()
                if not self.is_paused and owner.has_agent and not owner.record.is_renewing:
                    self.spawn(mend_clock(owner.agent), "clock")
            detail = event.detail
        await owner.has_ended(self, await self.machine.wait(), detail)

    async def _follow_network(self) -> None:
        record = self._owner.record
        part = await self._around.launcher.network_broken(record) or "its record"
        again = f"Reconnect it: `insula stop` and `start {record.spec.name}`"
        await self._owner.change(problem=f"Its network is broken: {part} is gone. {again}")

"""What follows the end of a machine that nobody commanded: it stays off, or starts again after a pause that grows."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.domain.instance import RestartPolicy
from insula.node.agent.background import Background
from insula.node.agent.records import InstanceRecord
from insula.node.agent.restart import RestartCounter, RestartRules
from insula.node.hypervisor.driver import EndReason

_log = get_logger(__name__)


class Owner(Protocol):
    """The instance whose machine ended."""

    record: InstanceRecord
    lock: asyncio.Lock

    async def change(self, **fields: Any) -> None: ...  # changes the record and writes it
    def publish(self) -> None: ...
    async def start_machine(self, **fields: Any) -> None: ...  # and changes these fields of the record


class Revival:
    """Decides and waits; `is_pending` says that the machine is going to start, so that it is seen as booting."""

    def __init__(self, owner: Owner, rules: RestartRules, background: Background) -> None:
        self._owner = owner
        self._background = background
        self._counter = RestartCounter(rules)
        self._taken_over = asyncio.Event()
        self.is_pending = False

    def take_over(self) -> None:
        """A command decides now: end the wait for the next start."""
        self._taken_over.set()
        self.is_pending = False

    def forgive(self) -> None:
        """Forget the ends so far: somebody starts it by hand, and decides."""
        self._counter.reset()
        self.take_over()

    async def after_end(self, reason: EndReason, lived_s: float, detail: str = "") -> None:
        """Decide. The caller holds the lock."""
        owner = self._owner
        if owner.record.saved is not None:  # between saving and ending it, somebody else ended it
            owner.publish()
            return
        if reason is not EndReason.CRASHED:
            await owner.change(desired_on=False, crashed=False, problem="")
            return
        crashed = f"Its machine crashed ({detail})" if detail else "Its machine crashed"
        if owner.record.spec.restart_policy is RestartPolicy.NEVER:
            await owner.change(crashed=True, problem=f"{crashed}, and its restart policy is never")
            return
        delay_s = self._counter.died(lived_s)
        if delay_s is None:
            count = self._counter.quick_deaths
            problem = f"{crashed} {count} times in a row soon after its start; it is not started again"
            await owner.change(crashed=True, problem=problem)
            return
        self.is_pending = True
        self._taken_over.clear()
        await owner.change(problem=f"{crashed}; it starts again in {delay_s:g} s")
        self._background.spawn(self._start_after(delay_s), f"restart of {owner.record.spec.name}")

    async def start_now(self, restarts: int) -> None:
        """Start it without being asked to; `restarts` is how often that was done by then. The caller holds the lock."""
        owner = self._owner
        try:
            await owner.start_machine(restarts=restarts)
        except InsulaError as error:
            _log.error("an instance could not be started again", instance_id=owner.record.spec.id, problem=str(error))
            self.is_pending = False
            await self.after_end(EndReason.CRASHED, lived_s=0.0)
            await owner.change(problem=f"{owner.record.problem}: {error}", restarts=restarts)

    async def _start_after(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._taken_over.wait()
            return
        except TimeoutError:
            pass
        async with self._owner.lock:
            if self.is_pending and not self._taken_over.is_set():
                await self.start_now(self._owner.record.restarts + 1)

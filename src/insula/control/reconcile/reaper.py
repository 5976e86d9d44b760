"""Deletes instances whose lease has ended: whoever renewed it is gone.

What counts is time that passed, not what the wall clock says: a clock that is set forward ends no lease, one that is
set back prolongs none. The wall clock is asked only after a time in which leases could not be renewed (the service was
down, the database away, the host frozen); then every lease lasts a while longer, so that those who are still there can
renew theirs first.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from datetime import datetime

from insula.base.clock import monotonic_s, now_utc
from insula.base.errors import Conflict, InsulaError, NotFound
from insula.base.log import get_logger
from insula.control.operations import Engine
from insula.control.store import Acceptance, AuditLine, Store
from insula.domain.access import LEASE_SUBJECT
from insula.domain.instance import Instance, InstanceState
from insula.domain.operation import Verb, new_operation

log = get_logger(__name__)

GRACE_S = 60.0
_LOOK_EVERY_S = 1.0
_GAP_S = 5.0  # shorter than the wait between two renewals of the shortest lease
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 300.0


@dataclass(frozen=True)
class _End:
    """When a lease ends. `at_s` is on the monotonic clock; `wait_s` is how long a failed deletion is left alone."""

    until: datetime
    at_s: float
    wait_s: float = _FIRST_WAIT_S


class Reaper:
    """One per controller; :meth:`run` it as a task. `grace_s` is what every lease lasts at least after a gap."""

    def __init__(self, store: Store, engine: Engine, *, grace_s: float = GRACE_S) -> None:
        self._store = store
        self._engine = engine
        self._grace_s = grace_s
        self._ends: dict[str, _End] = {}
        self._looked_at_s = -math.inf

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                await self.look()
            except InsulaError as error:
                log.warning("leases cannot be looked after now", error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Ask once for the deletion of all whose lease has ended. Raises what the store raises when it is away."""
        leased = [found for found in await self._store.instances.all() if found.lease_until is not None]
        # Asked of the database itself: where this fails, nobody can renew a lease either.
        busy = {operation.target for operation in await self._store.operations.active()} if leased else set()
        now_s = monotonic_s()
        is_gap = now_s - self._looked_at_s > _GAP_S
        self._ends = {found.id: self._end_of(found, now_s, is_gap) for found in leased}
        for found in leased:
            if self._ends[found.id].at_s <= now_s and found.id not in busy:
                await self._reap(found, now_s)
        self._looked_at_s = now_s

    def _end_of(self, leased: Instance, now_s: float, is_gap: bool) -> _End:
        assert leased.lease_s is not None and leased.lease_until is not None  # noqa: PT018, S101 - it is leased
        known = self._ends.get(leased.id)
        if known is None or known.until != leased.lease_until:
            left_s = float(leased.lease_s)  # it was given since the last look
            if is_gap:
                left_s = min(left_s, (leased.lease_until - now_utc()).total_seconds())
            known = _End(leased.lease_until, now_s + left_s)
        return replace(known, at_s=max(known.at_s, now_s + self._grace_s)) if is_gap else known

    async def _reap(self, leased: Instance, now_s: float) -> None:
        operation = new_operation(
            Verb.DELETE_INSTANCE, (leased.id, leased.name), project=leased.project, requested_by=LEASE_SUBJECT
        )
        line = AuditLine(LEASE_SUBJECT, leased.project, "instances.delete", leased.id, f"accepted: {operation.id}", "")
        wanted = Acceptance(operation, transition=InstanceState.DELETING, audit=line, lease_until=leased.lease_until)
        try:
            await self._store.accept(wanted)
        except (Conflict, NotFound):
            return  # something works on it, or its lease was renewed, or it is gone: the next look decides
        self._tell(leased)
        end = self._ends[leased.id]
        wait_s = min(2 * end.wait_s, _LONGEST_WAIT_S)
        self._ends[leased.id] = replace(end, at_s=now_s + end.wait_s, wait_s=wait_s)
        await self._engine.submit(operation.id)

    def _tell(self, leased: Instance) -> None:
        if self._ends[leased.id].wait_s == _FIRST_WAIT_S:
            log.info("a lease ended, its instance is deleted", instance_id=leased.id, until=leased.lease_until)
            return
        log.warning(
            "an instance whose lease ended could not be deleted, trying again",
            instance_id=leased.id,
            problem=leased.problem,
        )

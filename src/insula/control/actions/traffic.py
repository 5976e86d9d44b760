"""What instances send and receive."""

from __future__ import annotations

from datetime import timedelta

from insula.base.clock import now_utc
from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.ports import Spaces
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.traffic import Counts, InstanceTraffic, hour_of


class TrafficActions:
    def __init__(self, store: Store, spaces: Spaces) -> None:
        self.store = store
        self._spaces = spaces

    @action("traffic.show", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, instance: str, hours: int) -> InstanceTraffic:
        """Of the present hour and those before it, up to this moment. Raises NotFound."""
        found = await self.store.instances.get(caller.project, instance)
        await self._spaces.account([found])
        since = hour_of(now_utc() - timedelta(hours=hours - 1))
        rows = await self.store.traffic.of_instance(found.id, since)
        total = Counts()
        for row in rows:
            total = total.plus(row.counts)
        return InstanceTraffic(found.id, since, total, rows)

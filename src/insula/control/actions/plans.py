"""Plans: sizes that instances can be had in."""

from __future__ import annotations

from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.plan import PLANS, Plan


class PlanActions:
    def __init__(self, store: Store) -> None:
        self.store = store

    @action("plans.list", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller) -> Page[Plan]:
        """From the smallest to the largest."""
        return Page(tuple(PLANS.values()))

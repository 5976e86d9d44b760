"""The scheduler with its inputs: what nodes report and what the records claim."""

from __future__ import annotations

from collections.abc import Sequence

from insula.control.nodes import Nodes
from insula.control.scheduler.placement import HostPolicy, Refusal, capacity, place
from insula.control.store import Place, Store
from insula.domain.capacity import Capacity, Claim
from insula.domain.instance import Resources


class Scheduler:
    """Answers whether and where an instance fits."""

    def __init__(self, store: Store, nodes: Nodes, policy: HostPolicy) -> None:
        self._store = store
        self._nodes = nodes
        self._policy = policy

    async def capacity(self) -> Sequence[Capacity]:
        """Every answering node's numbers. Raises :class:`Unavailable` when none answers."""
        claims = await self._store.claims()
        return [capacity(report, claims, self._policy) for report in await self._nodes.reports()]

    async def placer(self, wanted: Resources, node: str = "") -> Place:
        """What :class:`insula.control.store.Acceptance` calls inside its transaction: claims to node.

        `node` limits the choice to one, for an instance that is there already. The result raises
        :class:`CapacityExceeded` with the numbers.
        """
        reports = [report for report in await self._nodes.reports() if not node or report.name == node]

        def choose(claims: Sequence[Claim]) -> str:
            answer = place(wanted, [capacity(report, claims, self._policy) for report in reports])
            if isinstance(answer, Refusal):
                raise answer.error()
            return answer.node

        return choose

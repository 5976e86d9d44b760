"""A node's networks, as control knows them: what it does beside handing orders on."""

from __future__ import annotations

from insula.node.agent import cards, refusals
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.node_backups import NodeBackups
from insula.node.agent.pool import Pool
from insula.protocol.network import SpaceOrder, SpaceReport, SpaceTraffic
from insula.protocol.node import InstanceSpec


class NodeNetworks(NodeBackups):
    """The part of :class:`insula.node.agent.node.Node` that has to do with networks."""

    _pool: Pool
    _keepers: dict[str, InstanceKeeper]

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        return await self._parts.network.apply_space(order)

    async def remove_space(self, space_id: str) -> None:
        await self._pool.end_in(space_id)
        await self._parts.network.remove_space(space_id)

    async def match_cards(self, spec: InstanceSpec) -> None:
        async with self._held(spec.id) as keeper:
            if keeper.record.saved is not None:
                raise refusals.is_asleep(spec.name)
            if keeper.record.point or keeper.record.is_renewing:
                raise refusals.is_renewing(spec.name)
            if keeper.machine is not None:
                await cards.match(keeper.machine, spec, self._parts.network)
            await keeper.change(spec=spec)

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        return await self._parts.network.space_reports()

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        return await self._parts.network.space_traffic(space_id)

    def _spec_of(self, instance_id: str) -> InstanceSpec | None:
        """Whose metadata it is; nobody has asked yet for what waits in the pool."""
        keeper = self._keepers.get(instance_id)
        return keeper.record.spec if keeper is not None else None

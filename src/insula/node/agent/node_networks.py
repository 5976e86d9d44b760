"""A node's networks, as control knows them: what it does beside handing orders on."""

from __future__ import annotations

from insula.node.agent.node_backups import NodeBackups
from insula.node.agent.pool import Pool
from insula.protocol.network import SpaceOrder, SpaceReport, SpaceTraffic


class NodeNetworks(NodeBackups):
    """The part of :class:`insula.node.agent.node.Node` that has to do with networks."""

    _pool: Pool

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        return await self._parts.network.apply_space(order)

    async def remove_space(self, space_id: str) -> None:
        await self._pool.end_in(space_id)
        await self._parts.network.remove_space(space_id)

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        return await self._parts.network.space_reports()

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        return await self._parts.network.space_traffic(space_id)

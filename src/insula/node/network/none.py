"""No network at all: for the fake driver, whose machines have no cable to plug in."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from insula.base.clock import monotonic_s
from insula.base.errors import NotFound, Unsupported
from insula.domain.instance import PortForward
from insula.domain.network import Space, check
from insula.domain.port import Port
from insula.node.network.spares import Spares
from insula.node.network.wiring import Wiring
from insula.protocol.network import PortTraffic, SpaceOrder, SpaceReport, SpaceTraffic, Traffic
from insula.protocol.node import Nic

_PACKETS_PER_S = 8


class NoNetwork:
    """Implements InstanceNetwork by remembering what was ordered, if it can be."""

    name = "none"

    def __init__(self) -> None:
        self.orders: dict[str, SpaceOrder] = {}
        self._spares = Spares()

    async def open(self) -> None:
        """There is nothing to be found."""

    async def watch(self) -> None:
        await asyncio.Event().wait()  # what is not there cannot break

    def close(self) -> None:
        """There is nothing to let go of."""

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        check(order.space)
        self.orders[order.space.id] = order
        self._spares.give_way_to(order.space)
        return SpaceReport(order.space.id, order.revision, order.way)

    async def remove_space(self, space_id: str) -> None:
        self.orders.pop(space_id, None)

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        return tuple(SpaceReport(order.space.id, order.revision, order.way) for order in self.orders.values())

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        self._ordered(space_id)
        return SpaceTraffic()

    async def plug(self, folder: Path, nics: Sequence[Nic], uid: int | None) -> Wiring:
        return Wiring()

    async def open_card(self, nic: Nic) -> int:
        self._ordered(nic.space_id)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def unplug(self, folder: Path) -> None:
        return

    async def reserve(self, space_id: str, instance_id: str, mac: str) -> Port:
        return self._spares.add(self._ordered(space_id).space, instance_id, mac)

    async def release(self, space_id: str, port: Port) -> None:
        self._spares.remove(port)

    def port(self, nic: Nic) -> Port | None:
        space = self.space(nic.space_id)
        return next((port for port in space.ports if port.id == nic.port_id), None) if space is not None else None

    def forwards(self, nics: Sequence[Nic]) -> tuple[PortForward, ...]:
        return ()  # nobody listens there

    async def card_traffic(self) -> Mapping[str, PortTraffic]:
        """Imaginary guests never cease to talk."""
        packets = int(monotonic_s() * _PACKETS_PER_S)
        sent, received = Traffic(packets, packets * 100), Traffic(2 * packets, 2 * packets * 500)
        ports = (port for order in self.orders.values() for port in order.space.ports)
        return {port.id: PortTraffic(sent, received) for port in ports}

    def epochs(self) -> Mapping[str, str]:
        return {}

    async def open_metadata(self, space_id: str) -> socket.socket:
        raise Unsupported("Nobody could ask for metadata here")

    def instance_at(self, space_id: str, address: str) -> str | None:
        return None

    def space(self, space_id: str) -> Space | None:
        order = self.orders.get(space_id)
        return order.space if order is not None else None

    def missing(self) -> Mapping[str, str]:
        return {"network": "The fake driver's machines are not connected; set INSULA_DRIVER=qemu for real ones"}

    def _ordered(self, space_id: str) -> SpaceOrder:
        if space_id not in self.orders:
            raise NotFound(f"There is no space {space_id} on this node", todo="Look at the project's networks")
        return self.orders[space_id]

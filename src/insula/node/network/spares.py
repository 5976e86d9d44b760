"""Ports beside those that control has ordered: for guests that wait until somebody asks for one.

Their numbers and addresses are the last ones, which control gives to others last, and keeps when such a guest becomes
an instance. They do not outlive the service, and neither do these guests.
"""

from __future__ import annotations

from dataclasses import replace

from insula.domain.ids import Kind, new_id
from insula.domain.network import Member, Space
from insula.domain.port import FIRST_SPARE_NUMBER, Port
from insula.domain.project_network import free_addresses


class Spares:
    """The spare ports of one space."""

    def __init__(self) -> None:
        self._ports: tuple[Port, ...] = ()

    def add(self, space: Space, instance_id: str, mac: str) -> Port:
        """A port in the space's first network. Raises CapacityExceeded."""
        held = [*space.ports, *self._ports]
        number = max((port.number for port in held if port.number >= FIRST_SPARE_NUMBER), default=FIRST_SPARE_NUMBER)
        taken = {address for port in held for address in (port.ipv4, port.ipv6)}
        network = space.networks[0]
        ipv4, ipv6 = free_addresses(network, taken.__contains__, last=True)
        port = Port(new_id(Kind.PORT), number + 1, instance_id, network.id, mac, ipv4, ipv6)
        self._ports = (*self._ports, port)
        return port

    def remove(self, port: Port) -> bool:
        """Whether it was there."""
        before, self._ports = self._ports, tuple(each for each in self._ports if each.mac != port.mac)
        return before != self._ports

    def give_way_to(self, space: Space) -> None:
        """Those that became ordered ports, or stand in the way of one, are spare no more."""
        macs, numbers = {port.mac for port in space.ports}, {port.number for port in space.ports}
        networks = {network.id for network in space.networks}
        addresses = {address for port in space.ports for address in (port.ipv4, port.ipv6)}
        self._ports = tuple(
            port
            for port in self._ports
            if port.mac not in macs
            and port.number not in numbers
            and port.network_id in networks
            and not {port.ipv4, port.ipv6} & (addresses - {""})
        )

    def beside(self, space: Space) -> Space:
        """The space with them."""
        if not self._ports:
            return space
        members = tuple(Member(port.instance_id, f"spare-{port.number}") for port in self._ports)
        return replace(space, members=(*space.members, *members), ports=(*space.ports, *self._ports))

"""Ports: where the network cards of instances are plugged into networks."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PORT_NUMBER = 99_999_999
MAX_CARDS = 4  # of an instance: machines have places for three beside the first
FIRST_SPARE_NUMBER = 90_000_000  # from here on nodes choose numbers, for guests that nobody has asked for yet


@dataclass(frozen=True)
class Port:
    """Where one network card of an instance is plugged in. `number` is unique in its space.

    `also` are prefixes beyond its own addresses that the instance may send from, as a router or a VPN does. A limit of
    0 is none; limits hold for each direction. One with the number 0 is a wish: number, network and addresses that it
    does not name are still to be chosen.
    """

    id: str
    number: int
    instance_id: str
    network_id: str
    mac: str
    ipv4: str = ""
    ipv6: str = ""
    also: tuple[str, ...] = ()
    megabits_per_second: int = 0
    packets_per_second: int = 0

    def is_placed_like(self, other: Port) -> bool:
        """Whether a card that is plugged in here finds at the other one what it has here."""
        mine, others = ((p.number, p.network_id, p.mac, p.ipv4, p.ipv6) for p in (self, other))
        return mine == others

"""Whom a guest asks about: its instance, and what the node knows of its place in the networks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from insula.domain.network import Network, Space
from insula.protocol.node import InstanceSpec


@dataclass(frozen=True)
class Card:
    """A network card. `public4` and `public6` are addresses of the outside that lead to it, empty for none."""

    mac: str
    network: Network
    ipv4: str = ""
    ipv6: str = ""
    public4: str = ""
    public6: str = ""


@dataclass(frozen=True)
class Subject:
    """An instance as its metadata tells of it. The first card is the one that leads outside."""

    spec: InstanceSpec
    cards: tuple[Card, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def name_servers(self) -> tuple[str, ...]:
        """The routers of the first card's network."""
        network = self.cards[0].network if self.cards else None
        return tuple(filter(None, (network.router4, network.router6))) if network is not None else ()

    @property
    def size(self) -> str:
        """What it has, as one word."""
        return f"{self.spec.resources.vcpus}vcpu-{self.spec.resources.memory_mib}mib"


def subject_of(spec: InstanceSpec, space: Space | None) -> Subject:
    """Its cards are those of its specification that are plugged in."""
    if space is None:
        return Subject(spec)
    networks = {network.id: network for network in space.networks}
    ports = {port.id: port for port in space.ports}
    public: dict[str, dict[int, str]] = {}
    for address in space.addresses:  # the first of several is the one that it is seen by
        public.setdefault(address.port_id, {}).setdefault(6 if ":" in address.address else 4, address.address)
    cards = []
    for nic in spec.nics:
        if (port := ports.get(nic.port_id)) is not None:
            reached = public.get(port.id, {})
            network = networks[port.network_id]
            cards.append(Card(port.mac, network, port.ipv4, port.ipv6, reached.get(4, ""), reached.get(6, "")))
    tags = next((member.tags for member in space.members if member.instance_id == spec.id), ())
    return Subject(spec, tuple(cards), tags)


def digits_of(text: str, count: int) -> str:
    """So many hexadecimal digits that are always the same for a text, and others for another one."""
    return hashlib.sha256(text.encode()).hexdigest()[:count]

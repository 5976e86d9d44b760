"""The network of a project as control would tell it to a node, for tests that are about the node alone."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

from insula.domain.instance import PortForward
from insula.domain.network import Forward, Member, Network, Space
from insula.domain.port import Port
from insula.domain.project_network import place
from insula.node.agent import Node
from insula.node.network.none import NoNetwork
from insula.node.network.spaces import Spaces
from insula.protocol.network import SpaceOrder
from insula.protocol.node import InstanceSpec, Nic

SPACE = "spc_test"
NETWORK = Network("net_test", 1, "10.42.0.0/16", "fd42::/64")


def nic(mac: str) -> Nic:
    """A card that :func:`connect` plugs in."""
    return Nic(mac, SPACE, f"prt_{hashlib.sha256(mac.encode()).hexdigest()[:20]}")


def alone(mac: str) -> Nic:
    """A card in a network of its own."""
    return Nic(mac)


async def open_network(node: Node) -> None:
    """The project's network, before there is an instance in it."""
    await _tell(node, _told(node))


async def connect(node: Node, spec: InstanceSpec, *forwards: PortForward, port: Port | None = None) -> None:
    """Have the instance's port in the network, with these ways in; `port` where the node chose its place."""
    space = _without(_told(node), spec.id)
    card = spec.nics[0]
    wish = replace(port or Port(card.port_id, 0, spec.id, "", card.mac), id=card.port_id, instance_id=spec.id)
    ports = (*space.ports, place(wish, NETWORK, space.ports))
    members = (*space.members, Member(spec.id, spec.hostname))
    ways_in = (*space.forwards, *(Forward(card.port_id, forward) for forward in forwards))
    await _tell(node, replace(space, members=members, ports=ports, forwards=ways_in))


async def disconnect(node: Node, spec: InstanceSpec) -> None:
    """Have its port gone, and the network when it was the last one."""
    space = _without(_told(node), spec.id)
    if space.ports:
        await _tell(node, space)
    else:
        await node.remove_space(SPACE)


def _told(node: Node) -> Space:
    network = node._parts.network
    order: SpaceOrder | None = None
    if isinstance(network, NoNetwork):
        order = network.orders.get(SPACE)
    elif isinstance(network, Spaces) and SPACE in network._keepers:
        order = network._keepers[SPACE].order
    return order.space if order is not None else Space(SPACE, (NETWORK,))


def _without(space: Space, instance_id: str) -> Space:
    gone = {port.id for port in space.ports if port.instance_id == instance_id}
    return replace(
        space,
        members=tuple(member for member in space.members if member.instance_id != instance_id),
        ports=tuple(port for port in space.ports if port.id not in gone),
        forwards=tuple(forward for forward in space.forwards if forward.port_id not in gone),
    )


async def _tell(node: Node, space: Space) -> None:
    await node.apply_space(SpaceOrder(space, time.time_ns()))

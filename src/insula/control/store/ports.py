"""Host ports that instances' forwards hold, each at most once per node."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import CapacityExceeded, Conflict
from insula.control.store.schema import instance, port_reservation
from insula.domain.instance import PortForward, Protocol

# Below Linux's ephemeral range (32768 on), so that no outgoing connection holds one by chance.
AUTOMATIC_PORTS = range(20000, 32000)


def reserve(
    connection: Connection, node: str, instance_id: str, forwards: Iterable[PortForward]
) -> tuple[PortForward, ...]:
    """Reserve every forward's host port, choosing one where it is 0; inside a transaction that holds the accept lock.

    Raises :class:`Conflict` that names the instance which holds a wanted port.
    """
    held = {
        (row.protocol, row.host_port): row.name
        for row in connection.execute(
            sa.select(port_reservation.c.protocol, port_reservation.c.host_port, instance.c.name)
            .join(instance, instance.c.id == port_reservation.c.instance_id)
            .where(port_reservation.c.node == node)
        )
    }
    wanted = [forward for forward in forwards if forward.host_port]
    result: dict[PortForward, PortForward] = {}
    for forward in (*wanted, *(forward for forward in forwards if not forward.host_port)):
        chosen = forward if forward.host_port else replace(forward, host_port=_choose(held, forward.protocol))
        key = (chosen.protocol, chosen.host_port)
        if key in held:
            raise _taken(chosen, held[key])
        held[key] = "this instance"
        result[forward] = chosen
        connection.execute(
            port_reservation.insert().values(
                node=node, protocol=chosen.protocol, host_port=chosen.host_port, instance_id=instance_id
            )
        )
    return tuple(result[forward] for forward in forwards)


def release(connection: Connection, instance_id: str, forward: PortForward) -> None:
    """Give a forward's host port back. Repeatable."""
    held = port_reservation.c
    same = (held.instance_id == instance_id, held.protocol == forward.protocol, held.host_port == forward.host_port)
    connection.execute(port_reservation.delete().where(*same))


def _choose(held: dict[tuple[Protocol, int], str], protocol: Protocol) -> int:
    # From a random place on, so that several services on one host seldom choose the same.
    start = secrets.randbelow(len(AUTOMATIC_PORTS))
    for step in range(len(AUTOMATIC_PORTS)):
        port = AUTOMATIC_PORTS[(start + step) % len(AUTOMATIC_PORTS)]
        if (protocol, port) not in held:
            return port
    raise CapacityExceeded(
        "No host port is left to forward",
        why=f"All {len(AUTOMATIC_PORTS)} from {AUTOMATIC_PORTS.start} on are held by instances",
        todo="Delete an instance, or name a host port outside of that range",
        code="no-port-left",
    )


def _taken(forward: PortForward, holder: str) -> Conflict:
    return Conflict(
        f"Host port {forward.host_port}/{forward.protocol} is taken",
        why=f"It belongs to {holder if holder == 'this instance' else 'instance ' + holder}",
        todo="Choose another one, or leave it out to get a free one",
        code="port-taken",
        fields={"forwards": f"{forward.host_port}/{forward.protocol} is taken"},
    )

"""Children of an instance: what of its record they have, and what is their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from insula.base.clock import now_utc
from insula.domain.ids import Kind, new_id, new_mac
from insula.domain.instance import Identity, Instance, InstanceState, lease_end
from insula.domain.project_network import port_wish

MAX_CHILDREN = 32


def child_names(parent: str, count: int, taken: Collection[str]) -> tuple[str, ...]:
    """So many free names: the parent's with the lowest numbers that are free."""
    numbers = (number for number in range(1, count + len(taken) + 1) if f"{parent}-{number}" not in taken)
    return tuple(f"{parent}-{number}" for number, _ in zip(numbers, range(count), strict=False))


def children_of(parent: Instance, names: Sequence[str], identity: Identity) -> tuple[Instance, ...]:
    """New records. A child that keeps the identity has no forwards, since it has no network."""
    now = now_utc()
    forwards = tuple(replace(forward, host_port=0) for forward in parent.forwards) if identity is Identity.RENEW else ()
    child = replace(
        parent,
        state=InstanceState.CREATING,
        created_at=now,
        updated_at=now,
        user_data="",
        forwards=forwards,
        protected=False,
        boot_phases=(),
        problem="",
        started_at=None,
        restarts=0,
        lease_until=lease_end(parent.lease_s),
    )
    return tuple(_child(child, name, is_connected=identity is Identity.RENEW) for name in names)


def _child(like: Instance, name: str, *, is_connected: bool) -> Instance:
    instance_id, mac = new_id(Kind.INSTANCE), new_mac()
    ports = tuple(port_wish(instance_id, mac, port.network_id) for port in like.ports[:1]) if is_connected else ()
    return replace(like, id=instance_id, name=name, hostname=name.lower(), mac=mac, ports=ports)

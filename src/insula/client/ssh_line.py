"""The `ssh` command line that reaches an instance with its host key pinned."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from insula.base.errors import Conflict
from insula.client import known_hosts, own_key
from insula.domain.instance import Instance, InstanceState, Protocol, way_to_run

if TYPE_CHECKING:
    from insula.client import Client


def arguments(client: Client, instance: Instance, *, user: str = "root") -> list[str]:
    """`ssh` with everything it needs. Learns the host key through the agent; without one, ssh asks the person.

    Raises Conflict when the instance does not run or has no port forward to its SSH.
    """
    address, port = _where(client, instance)
    home = client.settings.home
    pinned = known_hosts.learn(client, home, instance, address, port)
    words = ["ssh", "-p", str(port)]
    key = own_key.private_key(home)
    if key.exists():
        words += ["-i", str(key)]
    if pinned:
        words += ["-o", f"UserKnownHostsFile={known_hosts.file_in(home)}", "-o", "StrictHostKeyChecking=yes"]
    return [*words, f"{user}@{address}"]


def as_text(words: Sequence[str]) -> str:
    """To paste into a shell."""
    return shlex.join(words)


def _where(client: Client, instance: Instance) -> tuple[str, int]:
    if instance.state not in {InstanceState.RUNNING, InstanceState.FORKING}:
        raise Conflict(
            f"Instance {instance.name} does not run",
            why=f"It is {instance.state}",
            todo=f"Let it run: {way_to_run(instance)}",
            code="wrong-state",
        )
    for forward in instance.forwards:
        if forward.guest_port == 22 and forward.protocol is Protocol.TCP:
            return reachable(client, forward.host_address), forward.host_port
    raise Conflict(
        f"Instance {instance.name} has no port for SSH",
        why="None of its port forwards leads to port 22",
        todo=f"Use insula exec {instance.name} or insula console {instance.name}",
        code="no-ssh-port",
    )


def reachable(client: Client, address: str) -> str:
    """The address by which we reach a forward that listens on `address` of the node."""
    if address not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return address
    # Open on all addresses of the node: the one by which we reach its service does.
    return urlsplit(client.settings.url).hostname or "127.0.0.1"

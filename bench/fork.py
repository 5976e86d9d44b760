"""Forks of a running Debian that writes all the time: how long it stands still, and when a child obeys."""

from __future__ import annotations

import time

from bench.measure import Row, at_most
from insula.client import Client
from tests.private_service import PrivateService

_MEMORY_MIB = 512
_TIMES = 20
# Rewrites 8 MiB of memory and of a file, again and again.
_LOAD = "setsid sh -c 'while :; do head -c 8388608 /dev/zero > /dev/shm/load; cp /dev/shm/load /root/load; done' &"


def measure() -> list[Row]:
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        client.operations.wait(client.images.prepare("debian-12").id, timeout_s=3600)
        wish = client.instances.create("parent", image="debian-12", plan="entry-1", memory_mib=_MEMORY_MIB)
        parent = client.operations.wait(wish.id, timeout_s=600).target
        client.guest.execute(parent, ["/bin/sh", "-c", f"{_LOAD} sleep 5"])
        renewed = [_fork(client, parent, "renew") for _ in range(_TIMES)]
        kept = [_fork(client, parent, "keep") for _ in range(_TIMES)]
    pauses_ms = [paused_ms for paused_ms, _ in renewed + kept]
    note = f"debian-12, {_MEMORY_MIB} MiB, n={_TIMES}"
    return [
        at_most("fork: the parent stands still", pauses_ms, 150, "ms", f"debian-12, {_MEMORY_MIB} MiB, n={2 * _TIMES}"),
        at_most("fork → first command in a child with an identity of its own", [s for _, s in renewed], 1.2, "s", note),
        at_most("fork → first command in a child that keeps it", [s for _, s in kept], 1.2, "s", note),
    ]


def _fork(client: Client, parent: str, identity: str) -> tuple[float, float]:
    """Milliseconds that the parent stood still, and seconds until the child had done a command."""
    began = time.monotonic()
    done = client.operations.wait(client.instances.fork(parent, identity=identity).id, timeout_s=600)
    assert done.result is not None
    (child,) = done.result["children"]
    client.guest.execute(child["id"], ["/bin/true"])
    took_s = time.monotonic() - began
    client.operations.wait(client.instances.delete(child["id"]).id, timeout_s=120)
    return done.result["paused_ms"], took_s

"""Forks of a running Debian that writes all the time: how long it stands still, and when a child obeys."""

from __future__ import annotations

import time

from bench.measure import Row, at_most
from insula.client import Client
from tests.private_service import PrivateService

_MEMORY_MIB = 512
_TIMES = 20
_SMALL_MIB, _LARGE_MIB = 8, 64
# Rewrites so much memory, and a small file, again and again.
_LOAD = """
head -c $(({mib} << 20)) /dev/urandom > /dev/shm/new
setsid sh -c 'while :; do
    dd if=/dev/shm/new of=/dev/shm/load bs=64k conv=notrunc
    head -c 1000000 /dev/shm/load > /root/load
    sleep 0.02
done' < /dev/null > /dev/null 2>&1 &
echo $! > /run/load.pid
sleep 5
"""
_END_LOAD = "kill -- -$(cat /run/load.pid); rm /dev/shm/new /dev/shm/load"


def measure() -> list[Row]:
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        client.operations.wait(client.images.prepare("debian-12").id, timeout_s=3600)
        wish = client.instances.create("parent", image="debian-12", plan="entry-1", memory_mib=_MEMORY_MIB)
        parent = client.operations.wait(wish.id, timeout_s=600).target
        _inside(client, parent, _LOAD.format(mib=_SMALL_MIB))
        renewed = [_fork(client, parent, "renew") for _ in range(_TIMES)]
        kept = [_fork(client, parent, "keep") for _ in range(_TIMES)]
        _inside(client, parent, _END_LOAD)
        _inside(client, parent, _LOAD.format(mib=_LARGE_MIB))
        large = [_fork(client, parent, "keep") for _ in range(_TIMES)]
    small = renewed + kept
    note = f"debian-12, {_MEMORY_MIB} MiB, n={_TIMES}"
    return [
        at_most(
            _pause_at(_SMALL_MIB),
            [paused_ms for paused_ms, _ in small],
            150,
            "ms",
            f"debian-12, {_MEMORY_MIB} MiB, n={2 * _TIMES}",
        ),
        at_most(_pause_at(_LARGE_MIB), [paused_ms for paused_ms, _ in large], 150, "ms", note),
        at_most("fork → first command in a child with an identity of its own", [s for _, s in renewed], 1.2, "s", note),
        at_most("fork → first command in a child that keeps it", [s for _, s in kept], 1.2, "s", note),
    ]


def _pause_at(mib: int) -> str:
    return f"fork: the parent stands still, {mib} MiB rewritten all the time"


def _inside(client: Client, instance: str, script: str) -> None:
    done = client.guest.execute(instance, ["/bin/sh", "-c", script], timeout_s=120)
    assert done.exit_code == 0, done.stderr.decode("utf-8", "replace")


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

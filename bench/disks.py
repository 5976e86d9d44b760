"""Disks of real guests: how long a snapshot holds one up, what twenty of them cost, how fast a disk is cloned."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.measure import Row, at_most, spread
from insula.client import Client
from insula.node.storage.disks import Disks
from tests.private_service import PrivateService

_MEMORY_MIB = 512
_TIMES = 20
_SNAPSHOTS = 20
_FILE_MIB = 128
_ROUNDS = 5
# Writes a small file again and again, so that there is something to hold up.
_LOAD = """
setsid sh -c 'while :; do
    head -c 1000000 /dev/urandom > /root/load
    sync
    sleep 0.05
done' < /dev/null > /dev/null 2>&1 &
echo $! > /run/load.pid
sleep 2
"""
_END_LOAD = "kill -- -$(cat /run/load.pid)"
_FILL = f"head -c $(({_FILE_MIB} << 20)) /dev/urandom > /root/file; sync"
# Without the guest's cache. The writes go where the file is, so that each of them lands in a layer of its own first.
_READ = "dd if=/root/file of=/dev/null bs=64k iflag=direct 2>&1"
_WRITE = f"dd if=/dev/zero of=/root/file bs=64k count={_FILE_MIB * 16} conv=notrunc oflag=direct 2>&1"
# Between two snapshots, so that the file lies in all of them.
_SCATTER = "dd if=/dev/urandom of=/root/file bs=64k count=64 seek={place} conv=notrunc,fsync 2>&1"


def measure() -> list[Row]:
    with PrivateService("qemu") as service, service.client(timeout_s=600) as client:
        client.operations.wait(client.images.prepare("debian-12").id, timeout_s=3600)
        wish = client.instances.create("web", image="debian-12", plan="entry-1", memory_mib=_MEMORY_MIB)
        web = client.operations.wait(wish.id, timeout_s=600).target
        _inside(client, web, _LOAD)
        disk = [_snapshot(client, web, "disk") for _ in range(_TIMES)]
        memory = [_snapshot(client, web, "memory") for _ in range(_TIMES)]
        _inside(client, web, _END_LOAD)
        rows = _beside_snapshots(client, web)
    note = f"debian-12, {_MEMORY_MIB} MiB, writes all the time, n={_TIMES}"
    return [
        at_most("snapshot of a disk: the guest stands still", [paused_ms for paused_ms, _ in disk], 50, "ms", note),
        Row("the same: its file systems are frozen", spread([ms for _, ms in disk], "ms"), note=note),
        at_most("snapshot with memory: the guest stands still", [ms for ms, _ in memory], 600, "ms", note),
        *rows,
        _clone(),
    ]


def _inside(client: Client, instance: str, script: str) -> str:
    done = client.guest.execute(instance, ["/bin/sh", "-c", script], timeout_s=300)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
    return done.stdout.decode()


def _snapshot(client: Client, instance: str, kind: str) -> tuple[int, int]:
    """Milliseconds that the guest stood still, and that its file systems were frozen. The snapshot is let go of."""
    made = client.operations.wait(client.snapshots.create(instance, kind=kind).id, timeout_s=600)
    assert made.result is not None
    client.operations.wait(client.snapshots.delete(made.target).id, timeout_s=600)
    return made.result["paused_ms"], made.result["frozen_ms"]


def _mib_a_second(client: Client, instance: str, script: str) -> float:
    began = time.monotonic()
    _inside(client, instance, script)
    return _FILE_MIB / (time.monotonic() - began)


def _beside_snapshots(client: Client, instance: str) -> list[Row]:
    _inside(client, instance, _FILL)
    speed: dict[tuple[str, int], list[float]] = {}
    for count in (0, _SNAPSHOTS):
        for number in range(count):
            _inside(client, instance, _SCATTER.format(place=64 * number % (_FILE_MIB * 16)))
            client.operations.wait(client.snapshots.create(instance).id, timeout_s=600)
        for _ in range(_ROUNDS):
            for way, script in (("reads", _READ), ("writes", _WRITE)):
                speed.setdefault((way, count), []).append(_mib_a_second(client, instance, script))
    return [_ratio(way, speed[way, _SNAPSHOTS], speed[way, 0]) for way in ("reads", "writes")]


def _ratio(way: str, later: list[float], before: list[float]) -> Row:
    ratio = statistics.median(later) / statistics.median(before)
    note = f"{spread(later, 'MiB/s')} beside {spread(before, 'MiB/s')}; 64 KiB each, direct, n={_ROUNDS}"
    return Row(f"a guest's {way} with {_SNAPSHOTS} snapshots / with none", f"{ratio:.2f}", "≥ 0.8", ratio >= 0.8, note)


def _clone() -> Row:
    with tempfile.TemporaryDirectory(prefix="insula-bench-", dir="/var/tmp") as name:
        base, disk = Path(name, "base.qcow2"), Path(name, "disk.qcow2")
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=falloc", str(base), "10G"]
        subprocess.run(create, check=True)

        async def clones() -> list[float]:
            took_ms = []
            for _ in range(_TIMES):
                began = time.perf_counter()
                await Disks().layer(base, disk)
                took_ms.append((time.perf_counter() - began) * 1000)
            return took_ms

        took_ms = asyncio.run(clones())
        taken_kib = disk.stat().st_blocks // 2
    note = f"n={_TIMES}; it takes {taken_kib} KiB"
    return at_most("clone of a disk of 10 GiB, all of it allocated", took_ms, 30, "ms", note)

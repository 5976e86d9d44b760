"""How fast an instance's network really is, in both directions, inside its own namespace and without a guest."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from bench.measure import Row
from insula.base.clock import monotonic_s
from insula.base.run import run
from insula.node.network import record
from insula.node.network.namespace import NamespaceNetwork, entrance
from insula.node.network.wiring import WireRequest

_MAC = "52:54:00:00:00:01"
_UPLINK_MAC = "52:55:0a:00:02:02"  # slirp4netns itself
_VNET_HEADER_BYTES = 10
_FLOOD = """
import socket, sys, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        flood.sendto(bytes(1400), (sys.argv[1], 9))
    except OSError:  # the queue is full
        time.sleep(0.0005)
"""


def measure() -> list[Row]:
    """Both directions under two limits, each within ten per cent."""
    rows = []
    for limit in (50, 100):
        for direction, mbps in zip(("to", "from"), asyncio.run(rates(limit)), strict=True):
            off = (mbps / limit - 1) * 100
            what = f"network {direction} the guest"
            value = f"{mbps:.1f} Mbit/s ({off:+.1f} %)"
            rows.append(Row(what, value, f"{limit} Mbit/s ± 10 %", abs(off) <= 10))
    return rows


async def rates(network_mbps: int, seconds: float = 3.0) -> tuple[float, float]:
    """Megabits per second that pass to the guest and from the guest under a limit of `network_mbps`."""
    with tempfile.TemporaryDirectory(prefix="insula-net-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        network = NamespaceNetwork()
        with await network.wire(WireRequest("ins_bench", folder, _MAC, network_mbps=network_mbps)) as wiring:
            try:
                assert wiring.tap_fd is not None
                inside = await _prepare(folder)
                to_guest = await _to_guest(inside, wiring.tap_fd, seconds)
                return to_guest, await _from_guest(inside, seconds)
            finally:
                await network.unwire(folder)


async def _prepare(folder: Path) -> list[str]:
    """Let the namespace itself send to the guest's port and to the uplink; returns the command that enters it."""
    found = record.load(folder)
    assert found is not None
    inside = entrance(found.processes[0].pid)
    lines = (
        "addr add 10.0.2.77/24 dev br0",
        f"neigh replace 10.0.2.15 lladdr {_MAC} dev br0 nud permanent",
        f"neigh replace 10.0.2.2 lladdr {_UPLINK_MAC} dev br0 nud permanent",
    )
    await run([*inside, "ip", "-batch", "-"], timeout_s=10, stdin="\n".join(lines).encode())
    for mac, device in ((_MAC, "vm0"), (_UPLINK_MAC, "up0")):
        await run([*inside, "bridge", "fdb", "replace", mac, "dev", device, "master", "static"], timeout_s=10)
    return inside


async def _flood(inside: list[str], address: str, seconds: float) -> None:
    await run([*inside, "/usr/bin/python3", "-I", "-S", "-c", _FLOOD, address, str(seconds)], timeout_s=seconds + 20)


async def _to_guest(inside: list[str], tap: int, seconds: float) -> float:
    received = first_s = last_s = 0.0

    def drain() -> None:
        nonlocal received, first_s, last_s
        last_s = monotonic_s()
        first_s = first_s or last_s
        while True:
            try:
                received += len(os.read(tap, 65536)) - _VNET_HEADER_BYTES
            except BlockingIOError:
                return

    loop = asyncio.get_running_loop()
    loop.add_reader(tap, drain)
    try:
        await _flood(inside, "10.0.2.15", seconds)
    finally:
        loop.remove_reader(tap)
    return received * 8 / 1e6 / max(last_s - first_s, 0.001)


async def _from_guest(inside: list[str], seconds: float) -> float:
    async def sent_bytes() -> int:
        return int((await run([*inside, "cat", "/proc/net/dev"], timeout_s=10)).text.split("up0:")[1].split()[8])

    flood = asyncio.create_task(_flood(inside, "10.0.2.2", seconds))
    try:
        await asyncio.sleep(seconds * 0.2)
        before, began_s = await sent_bytes(), monotonic_s()
        await asyncio.sleep(seconds * 0.6)
        after, ended_s = await sent_bytes(), monotonic_s()
    finally:
        await flood
    return (after - before) * 8 / 1e6 / (ended_s - began_s)

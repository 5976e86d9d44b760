"""How fast a network really is under a limit, in both directions, without a guest: the bench holds the taps."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.measure import Row
from insula.base.clock import monotonic_s
from insula.domain.network import Network
from tests.network import frames
from tests.network.world import World, port_of, space_of

_NETWORK = Network("net_bench", 1, "10.1.0.0/24", "fd00:1::/64")
_LIMITED, _FREE = "prt_1", "prt_2"
_PAYLOAD = bytes(1400)
_PAUSE_S = 0.0005


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
    limited = replace(port_of(1, _NETWORK), megabits_per_second=network_mbps)
    with tempfile.TemporaryDirectory(prefix="insula-net-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        world = World(Path(name) / "space")
        try:
            await world.apply(space_of([_NETWORK], [limited, port_of(2, _NETWORK)]))
            return await _rate(world, _FREE, _LIMITED, seconds), await _rate(world, _LIMITED, _FREE, seconds)
        finally:
            await world.end()


async def _rate(world: World, source: str, target: str, seconds: float) -> float:
    """What comes through once the burst is over."""
    await world.clear()
    sender, receiver = world.port(source).ipv4, world.port(target).ipv4
    body = frames.udp(4000, 9, _PAYLOAD)
    began_s = monotonic_s()
    received = 0
    while (passed_s := monotonic_s() - began_s) < seconds:
        for _ in range(16):
            try:
                world.send_packet(source, sender, receiver, "udp", body)
            except BlockingIOError:
                break
        arrived = sum(len(frame) for frame in world.frames_at(target) if len(frame) > len(_PAYLOAD))
        if passed_s > seconds / 3:
            received += arrived
        await asyncio.sleep(_PAUSE_S)
    return received * 8 / 1e6 / (seconds * 2 / 3)

"""Limits of a network's speed inside an instance's namespace, in both directions, by the kernel's traffic control."""

from __future__ import annotations

from insula.base.errors import HostFailure
from insula.base.run import run

_TIMEOUT_S = 10.0
# A burst of a tick's worth of data at 100 ticks a second, and never less than what one TCP send of 64 KiB needs.
_TICKS_PER_SECOND = 100
_LEAST_BURST_BYTES = 128 * 1024
_LATENCY = "50ms"
DEVICES = ("vm0", "up0")  # leaving through vm0 means to the guest, through up0 from the guest


def commands(network_mbps: int) -> str:
    """What `tc -batch` reads for this limit, in megabits per second."""
    burst = max(_LEAST_BURST_BYTES, network_mbps * 1_000_000 // 8 // _TICKS_PER_SECOND)
    lines = (
        f"qdisc replace dev {device} root tbf rate {network_mbps}mbit burst {burst} latency {_LATENCY}"
        for device in DEVICES
    )
    return "".join(f"{line}\n" for line in lines)


async def limit(entrance: list[str], network_mbps: int) -> None:
    """Set the limit; `entrance` is the command that enters the namespace. Raises HostFailure."""
    await run([*entrance, "tc", "-batch", "-"], timeout_s=_TIMEOUT_S, stdin=commands(network_mbps).encode())


async def is_possible(entrance: list[str]) -> bool:
    """Whether the kernel has the token bucket filter; tried in a namespace of its own."""
    line = b"qdisc replace dev lo root tbf rate 1mbit burst 131072 latency 50ms\n"
    try:
        await run([*entrance, "tc", "-batch", "-"], timeout_s=_TIMEOUT_S, stdin=line)
    except HostFailure:
        return False
    return True

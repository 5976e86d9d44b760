"""What measuring fifty instances costs the service: asking the node, making rates, writing a minute of them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.measure import Row
from insula.domain.history import MEASURED_EVERY_S
from tests.api.world import make_world

_INSTANCES = 50
_LOOKS = 6  # in a minute
_MINUTES = 5


def measure() -> list[Row]:
    """Processor time of the service's part, with imaginary machines; what QEMU is asked comes on top of it."""
    percent = asyncio.run(_measure())
    known = percent < 1
    return [Row("measuring fifty instances: processor", f"{percent:.2f} % of a core", "< 1 %", known)]


async def _measure() -> float:
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as folder:
        async with make_world(Path(folder)) as world:
            for number in range(_INSTANCES):
                await world.create(f"bench-{number}")
            await world.recorder.look()
            await world.histories.flush()
            used_s = time.process_time()
            for _ in range(_MINUTES):
                for _ in range(_LOOKS):
                    await world.recorder.look()
                await world.histories.flush()
            used_s = time.process_time() - used_s
    return used_s / (_MINUTES * _LOOKS * MEASURED_EVERY_S) * 100

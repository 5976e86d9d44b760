"""An instance that was measured for ten minutes, as every dialect may be asked about."""

from __future__ import annotations

import time

from insula.domain.history import Metric, Reading
from tests.api.world import World

MINUTES = 10


async def measured(world: World, instance_id: str) -> float:
    """It has used a quarter of a processor and received a megabyte a second. Returns the present time."""
    now_s = time.time()
    for number in range(MINUTES * 6 + 1):
        at_s = now_s - (MINUTES * 6 - number) * 10
        counters = {Metric.CPU: at_s / 4, Metric.NETWORK_RECEIVED: at_s * 1e6}
        counters |= {Metric.DISK_READS: at_s * 2, Metric.DISK_WRITES: at_s * 3}
        world.histories.note(instance_id, "default", Reading("past", at_s, counters), at_s)
    return now_s

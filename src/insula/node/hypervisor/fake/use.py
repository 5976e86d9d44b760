"""What a fake machine claims to use: a little, in slow waves, so that it is the same after any restart."""

from __future__ import annotations

import math
import time

from insula.node.hypervisor.driver import DiskCounts, MachineStatus, ProcessUse
from insula.node.hypervisor.fake.state import FakeState

_WAVE_S = 600.0
_CPU_SHARE = 0.05
_MEMORY_BYTES, _SWING_BYTES = 96 << 20, 16 << 20
_READ_BYTES_PER_S, _WRITTEN_BYTES_PER_S = 20_480, 81_920
_BYTES_PER_OPERATION = 4096


class MeasuredFake:
    """The part of a fake machine that implements CanMeasure."""

    _state: FakeState

    def process_use(self) -> ProcessUse | None:
        if self._state.status is MachineStatus.ENDED:
            return None
        age_s = self._age_s
        swing = _SWING_BYTES * math.sin(age_s / _WAVE_S * math.tau)
        return ProcessUse(_CPU_SHARE * _grown(age_s), _MEMORY_BYTES + int(swing))

    async def disk_counts(self) -> DiskCounts:
        grown = _grown(self._age_s)
        read, written = int(_READ_BYTES_PER_S * grown), int(_WRITTEN_BYTES_PER_S * grown)
        return DiskCounts(read, written, read // _BYTES_PER_OPERATION, written // _BYTES_PER_OPERATION)

    @property
    def _age_s(self) -> float:
        return max(0.0, time.time() - self._state.started_at_s)


def _grown(age_s: float) -> float:
    """What comes together in so many seconds at a pace that swings between a half and one and a half a second."""
    return age_s + (1 - math.cos(age_s / _WAVE_S * math.tau)) * _WAVE_S / math.tau / 2

"""A machine has its processors whole until its guest has booted, which takes four times as long with a quarter of one.

Its weight against other machines is that of its plan from the first moment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from insula.base.errors import Conflict, GuestFailure
from insula.domain.instance import Resources
from insula.node.hypervisor.driver import CanLimitLive, Machine

LONGEST_S = 90.0  # a guest that never says that it is ready gets no more of the host than it was promised
_PERCENT = 100


def boosted(resources: Resources) -> Resources:
    """What the machine starts with."""
    return replace(resources, cpu_percent=max(resources.cpu_percent, resources.vcpus * _PERCENT))


async def end_when(ready: Awaitable[Any], machine: Machine, resources: Callable[[], Resources], since_s: float) -> None:
    """Hold the machine to its resources, as they are then, as soon as its guest is ready, or will not be.

    It boots since `since_s`.
    """
    left_s = LONGEST_S - (time.time() - since_s)
    with contextlib.suppress(TimeoutError, GuestFailure):
        await asyncio.wait_for(ready, max(0.0, left_s))
    if isinstance(machine, CanLimitLive):
        with contextlib.suppress(Conflict):  # it has ended: that may be why its guest did not become ready
            await machine.set_limits(resources())

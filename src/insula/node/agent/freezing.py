"""A guest's file systems are frozen for a moment: all is on its disk, and nothing is written until they are thawed.

A guest whose file systems stay frozen hangs, and whoever thaws them may be killed. So before they are frozen a program
is left in the guest that thaws them by itself after some seconds, by way of the kernel (SysRq j). A guest that does not
run it is not frozen. An agent that froze the file systems itself refuses most commands until it is told to thaw them,
also when they are thawed already; see :func:`thaw`.
Source: QEMU Guest Agent Protocol Reference (guest-fsfreeze-*), Linux' Documentation/admin-guide/sysrq.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from insula.base.clock import monotonic_s
from insula.base.errors import GuestFailure, InsulaError, Unsupported
from insula.base.log import get_logger
from insula.node.agent.background import Background
from insula.node.agent.guest import GuestAgent

_LONGEST_S = 10  # frozen, whatever happens
_FREEZE_S = 5.0
_CALL_S = 5.0
_GUARD = f"sleep {_LONGEST_S} && echo j > /proc/sysrq-trigger"

_log = get_logger(__name__)


class Freeze:
    """`held` says at the end whether the file systems were frozen all the while, and `took_ms` for how long."""

    def __init__(self) -> None:
        self.held = False
        self.took_ms = 0


@contextlib.asynccontextmanager
async def frozen(agent: GuestAgent | None, background: Background) -> AsyncIterator[Freeze]:
    """The block runs while the guest's file systems are frozen, or not frozen if that does not work."""
    freeze = Freeze()
    guard = await _begin(agent) if agent is not None else None
    if agent is None or guard is None:
        yield freeze
        return
    began_s = monotonic_s()
    try:
        count = await _freeze(agent)
        yield freeze
    finally:
        thawed = await asyncio.shield(_thaw(agent))
        freeze.took_ms = round((monotonic_s() - began_s) * 1000)
        background.spawn(_dismiss(agent, guard), "what would have thawed a guest")
    freeze.held = 0 < count <= thawed


async def thaw(agent: GuestAgent) -> None:
    """End what a service before us began; nothing happens when it began nothing. The guest need not answer."""
    await _thaw(agent)


async def _begin(agent: GuestAgent) -> int | None:
    """The number of the program that thaws the guest if nobody else does, None when it does not run."""
    try:
        await agent.call("guest-fsfreeze-thaw", timeout_s=_CALL_S)  # or it would refuse all that follows
        argv = {"path": "/bin/sh", "arg": ["-c", _GUARD], "capture-output": False}
        started: Any = await agent.call("guest-exec", argv, timeout_s=_CALL_S)
        return int(started["pid"])
    except (GuestFailure, Unsupported, KeyError, TypeError, ValueError) as error:
        _log.info("a guest's file systems are not frozen", problem=str(error))
        return None


async def _freeze(agent: GuestAgent) -> int:
    try:
        count = await agent.call("guest-fsfreeze-freeze", timeout_s=_FREEZE_S)
    except (GuestFailure, Unsupported) as error:
        _log.info("a guest's file systems are not frozen", problem=str(error))
        return 0
    return count if isinstance(count, int) else 0


async def _thaw(agent: GuestAgent) -> int:
    """How many file systems were still frozen."""
    try:
        count = await agent.call("guest-fsfreeze-thaw", timeout_s=_CALL_S)
    except (GuestFailure, Unsupported) as error:
        _log.warning("a guest did not answer when it was to be thawed; it does so by itself", problem=str(error))
        return 0
    return count if isinstance(count, int) else 0


async def _dismiss(agent: GuestAgent, guard: int) -> None:
    argv = {"path": "/bin/sh", "arg": ["-c", f"kill {guard}"], "capture-output": False}
    with contextlib.suppress(InsulaError):
        await agent.call("guest-exec", argv, timeout_s=_CALL_S)

"""Asking a guest to end or to start anew: first its agent, then the power button, then by force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from insula.base.clock import monotonic_s
from insula.base.errors import Conflict, GuestFailure, Unsupported
from insula.node.agent.guest import GuestAgent
from insula.node.hypervisor.driver import Machine, MachineStatus
from insula.protocol.node import StopReport, StopWay

_BUTTON_S = 5.0  # kept for the power button, or half of a short time, when the agent has promised to obey
_AGENT_ANSWER_S = 2.0


async def shut_down(machine: Machine, agent: GuestAgent | None, graceful_s: float) -> StopReport:
    """End the machine within `graceful_s` seconds, by force at last; says which way worked."""
    started_s = monotonic_s()

    async def ended(timeout_s: float) -> bool:
        return await _in_time(machine.wait, timeout_s)

    way = await _persuade(machine, agent, "powerdown", graceful_s, ended)
    if way is None:
        await machine.kill()
        way = StopWay.HARD
    return StopReport(way, int((monotonic_s() - started_s) * 1000))


async def _persuade(
    machine: Machine,
    agent: GuestAgent | None,
    mode: str,
    graceful_s: float,
    obeyed: Callable[[float], Awaitable[bool]],
) -> StopWay | None:
    """Agent first, then the power button; None when neither helped in time."""
    deadline_s = monotonic_s() + graceful_s
    if graceful_s <= 0 or await machine.status() is not MachineStatus.RUNNING:
        return None
    asked = agent is not None and await _ask_agent(agent, mode, min(_AGENT_ANSWER_S, graceful_s / 2))
    left_s = deadline_s - monotonic_s()
    if asked and await obeyed(max(left_s / 2, left_s - _BUTTON_S)):
        return StopWay.AGENT
    try:
        await machine.press_power_button()
    except (Conflict, Unsupported):  # it has ended meanwhile, or has no such button
        return StopWay.AGENT if await obeyed(0.1) else None
    return StopWay.ACPI if await obeyed(max(0.1, deadline_s - monotonic_s())) else None


async def _ask_agent(agent: GuestAgent, mode: str, timeout_s: float) -> bool:
    try:
        await agent.call("guest-ping", timeout_s=timeout_s)
        await agent.tell("guest-shutdown", {"mode": mode}, timeout_s=timeout_s)
    except (GuestFailure, Unsupported):
        return False
    return True


async def _in_time(wait: Callable[[], Awaitable[object]], timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await wait()
    except TimeoutError:
        return False
    return True


async def restart_guest(
    machine: Machine, agent: GuestAgent | None, graceful_s: float, new_boot: asyncio.Event
) -> StopReport:
    """Let the guest boot anew; `new_boot` is set when the machine was reset.

    The machine may have ended instead (a power button ends it, some guests halt): the caller starts it again then.
    """
    started_s = monotonic_s()

    async def gone_or_reset(timeout_s: float) -> bool:
        waits = {asyncio.ensure_future(machine.wait()), asyncio.ensure_future(new_boot.wait())}
        try:
            done, _ = await asyncio.wait(waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)

    way = await _persuade(machine, agent, "reboot", graceful_s, gone_or_reset)
    if way is None:
        way = StopWay.HARD
        await machine.reset()
        await gone_or_reset(10.0)
    return StopReport(way, int((monotonic_s() - started_s) * 1000))

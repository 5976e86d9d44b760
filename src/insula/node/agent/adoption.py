"""A guest that was renewed ahead stands by, and becomes an instance when it is told whose it is.

All that can be done before is done before. An emulated CPU takes thirty milliseconds to start a program, so the one
that takes an instance's name and keys on runs already and waits at a pipe. The guest has its address, and has done once
what its instance will do first, which translates that code.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from insula.base.errors import GuestFailure, Unsupported
from insula.node.agent.first_start import (
    ANSWER_S,
    PROGRAM,
    RANDOM_BYTES,
    RENEW_S,
    await_address,
    program_failed,
    renew,
    require_itself,
    run_program,
)
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import begin, end_of, exists, open_pipe, tell_pipe
from insula.node.hypervisor.driver import CanCutNetwork, CanPause, Machine
from insula.protocol.node import InstanceSpec

READY_FILE = "/run/insula/ready"
PIPE = "/run/insula/adoption"
_POLL_S = 0.05
_TELL_S = 10.0  # a hundred times what it takes; then a boot is the quicker way
_SETTLE_S = 0.3  # from when it says that it waits until it does; else it is slower later, and nothing else


@dataclass(frozen=True)
class StandIn:
    """A guest that waits to be told: the program's pid and the open pipe, as its agent knows them."""

    agent: GuestAgent
    pid: int
    pipe: int

    async def tell(self, spec: InstanceSpec) -> None:
        """Return when it is this instance. Raises :class:`GuestFailure`; it is nobody's then."""
        lines = (f"{time.time():.3f}", spec.id, spec.hostname, *spec.ssh_keys, "")
        text = "".join(f"{line}\n" for line in lines)
        await tell_pipe(self.agent, self.pipe, os.urandom(RANDOM_BYTES) + text.encode())
        done = await end_of(self.agent, self.pid, _TELL_S)
        if done is None:
            raise GuestFailure(
                f"The guest of {spec.name} did not take on its identity",
                why=f"It was told {_TELL_S:g} s ago whose it is, and has not confirmed it",
                code="renew-failed",
            )
        if done.exit_code != 0:
            raise program_failed(spec, done)
        require_itself(done.stdout.decode("utf-8", "replace").strip(), spec)


async def stand_by(machine: Machine, agent: GuestAgent, spec: InstanceSpec) -> StandIn:
    """Let the template's guest go on, become somebody of its own, rehearse to be adopted, and stand still again.

    `spec` need not be the instance's that it becomes by :func:`adopt`. Raises InsulaError.
    """
    if not isinstance(machine, CanPause) or not isinstance(machine, CanCutNetwork):
        raise Unsupported("This driver's machines cannot go on from a template", code="no-templates")
    await agent.attach(ANSWER_S)
    await machine.resume()
    await renew(agent, spec, ANSWER_S)
    await machine.set_link(True)  # from here on it is nobody's sibling
    await await_address(agent)
    async with asyncio.timeout(RENEW_S):
        while not await exists(agent, READY_FILE):  # noqa: ASYNC110 - the guest is asked
            await asyncio.sleep(_POLL_S)
    await run_program(agent, spec, ("rehearse",), b"")
    await (await _let_wait(agent, spec)).tell(spec)
    stand_in = await _let_wait(agent, spec)
    await asyncio.sleep(_SETTLE_S)
    await machine.pause()
    return stand_in


async def adopt(machine: Machine, stand_in: StandIn, spec: InstanceSpec) -> None:
    """Let a guest that stands by become this instance. Raises InsulaError."""
    if not isinstance(machine, CanPause):
        raise Unsupported("This driver's machines cannot go on from a template", code="no-templates")
    await machine.resume()
    await stand_in.tell(spec)


async def _let_wait(agent: GuestAgent, spec: InstanceSpec) -> StandIn:
    pid = await begin(agent, (PROGRAM, "wait"), b"")
    async with asyncio.timeout(RENEW_S):
        while not await exists(agent, f"{PIPE}.{pid}"):
            if (done := await end_of(agent, pid, 0)) is not None:
                raise program_failed(spec, done)
            await asyncio.sleep(_POLL_S)
    return StandIn(agent, pid, await open_pipe(agent, PIPE))

"""The first start of an instance from a template: its machine goes on as the template's, and becomes somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from insula.base.errors import DataCorrupt, GuestFailure, Unsupported
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import execute, has_address
from insula.node.agent.launch import Frozen, Launcher
from insula.node.agent.records import InstanceRecord
from insula.node.agent.template_key import TemplateKeys
from insula.node.agent.template_store import TemplateStore
from insula.node.hypervisor.driver import CanCutNetwork, CanPause, Machine
from insula.node.storage.template import Template, note_use
from insula.protocol.node import ExecResult, InstanceSpec

PROGRAM = "/usr/lib/insula/renew"
RANDOM_BYTES = 64
ANSWER_S = 20.0
_ADDRESS_S = 10.0  # a network may have none to give
_ADDRESS_POLL_S = 0.05
RENEW_S = 60.0  # a cold boot on a busy host takes longer


class FirstStarts:
    """Starts new instances from templates."""

    def __init__(self, launcher: Launcher, keys: TemplateKeys, store: TemplateStore) -> None:
        self._launcher = launcher
        self._keys = keys
        self._store = store

    async def start(self, record: InstanceRecord, key: str) -> Machine:
        """Start the machine, whose guest stands still and is another's until :func:`become`.

        `key` is the template that its disk was made from. Raises InsulaError and OSError when the instance must boot
        from its disk instead; no machine is left then.
        """
        template = await self._fitting(record, key)
        async with self._store.memories.lent(template) as memory:
            await asyncio.to_thread(note_use, template.folder)
            return await self._launcher.start(record, Frozen(memory, template.devices))

    async def _fitting(self, record: InstanceRecord, key: str) -> Template:
        """The template, if it is whole and everything is as it was when the disk was made from it."""
        template = await self._store.find(key)
        image = record.image
        if template is None or image is None or image.disk != template.disk:
            raise DataCorrupt(f"The template of {record.spec.name} is gone", code="template-gone")
        original = template.original(image)
        if await self._keys.of(record.spec, original) != key:
            raise Unsupported(
                f"{record.spec.name} cannot go on from its template",
                why="The host or the instance's resources have changed since its disk was made",
                code="template-unfit",
            )
        return template


async def become(machine: Machine, agent: GuestAgent, spec: InstanceSpec, answer_s: float = ANSWER_S) -> None:
    """Let a guest that stands still with another's identity go on and become this instance, or raise InsulaError.

    It has `answer_s` to answer for the first time.
    """
    if not isinstance(machine, CanPause) or not isinstance(machine, CanCutNetwork):
        raise Unsupported("This driver's machines cannot go on from a template", code="no-templates")
    # Before it goes on: its agent finds us connected, as it was frozen, and answers at once.
    await agent.attach(ANSWER_S)
    await machine.resume()
    await renew(agent, spec, answer_s)
    await machine.set_link(True)  # it was silent until now, or it would have spoken with its siblings' addresses
    await await_address(agent)


async def await_address(agent: GuestAgent) -> None:
    """Until it can be reached, as after any boot: who asks for it sooner waits for seconds until he is heard again."""
    with contextlib.suppress(TimeoutError, GuestFailure, Unsupported):
        async with asyncio.timeout(_ADDRESS_S):
            while not await has_address(agent):  # noqa: ASYNC110 - the guest is asked
                await asyncio.sleep(_ADDRESS_POLL_S)


async def renew(agent: GuestAgent, spec: InstanceSpec, answer_s: float) -> None:
    """Until this is done the guest has the identity, the random numbers and the time of all its siblings."""
    await agent.await_answer(answer_s)
    require_itself(await run_program(agent, spec, (str(int(time.time())), spec.mac), os.urandom(RANDOM_BYTES)), spec)


async def run_program(agent: GuestAgent, spec: InstanceSpec, arguments: tuple[str, ...], stdin: bytes) -> str:
    """What the guest's program prints."""
    done = await execute(agent, (PROGRAM, *arguments), stdin, RENEW_S)
    if done.exit_code != 0:
        raise program_failed(spec, done)
    return done.stdout.decode("utf-8", "replace").strip()


def program_failed(spec: InstanceSpec, done: ExecResult) -> GuestFailure:
    """What to raise when the guest's program has failed."""
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-500:]
    return GuestFailure(
        f"The guest of {spec.name} did not take on its identity",
        why=f"{PROGRAM} ended with status {done.exit_code}: {said or 'it said nothing'}",
        code="renew-failed",
    )


def require_itself(became: str, spec: InstanceSpec) -> None:
    if became != spec.id:  # it read a seed that was not its own
        raise GuestFailure(
            f"The guest of {spec.name} took on another identity",
            why=f"It says that it is {became[:80]!r} instead of {spec.id}",
            code="renew-failed",
        )

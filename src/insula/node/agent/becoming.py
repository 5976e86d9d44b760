"""Machines whose guests are somebody else's when an instance gets them: a template's, a fork point's, nobody's yet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.node.agent.first_start import become
from insula.node.agent.forks import Owner
from insula.node.agent.launch import console_size
from insula.node.agent.phases import ADOPT, RENEW, WAKE
from insula.node.agent.records import BootRecord
from insula.node.agent.surroundings import Surroundings
from insula.node.hypervisor.driver import Machine

_log = get_logger(__name__)


@dataclass(frozen=True)
class Becoming:
    """A machine that runs, and what makes its guest the instance: it raises InsulaError or OSError when that fails."""

    machine: Machine
    become: Callable[[], Awaitable[None]]
    boot: BootRecord


async def begin(owner: Owner, around: Surroundings) -> Becoming | None:
    """The machine that an instance begins with; None when it has to start one from its disk.

    Raises InsulaError for a fork's child whose machine does not start: what is on its disk only is not what was asked
    for.
    """
    record = owner.record
    if record.volumes:  # a member's machine has none
        await around.pool.end_claimed(record.spec.id)
    if (member := await around.pool.begin(record)) is not None:
        owner.agent = member.guest.agent
        console = console_size(around.records.folder_of(record.spec.id))
        boot = BootRecord(time.time(), console, first=ADOPT)
        return Becoming(member.machine, partial(member.become, record.spec), boot)
    await around.pool.make_room(record.spec.resources)
    await around.templates.make_room(record.spec.resources)
    if record.point:
        machine = await around.forks.start(owner)
        boot = BootRecord(machine.started_at_s, first=WAKE if record.is_cut else RENEW)
        return Becoming(machine, partial(around.forks.go_on, machine, owner), boot)
    return await _from_template(owner, around) if record.template else None


async def _from_template(owner: Owner, around: Surroundings) -> Becoming | None:
    """None when that does not work: booting from the disk is always right."""
    key, spec = owner.record.template, owner.record.spec
    # From here on the guest may change its disk, and the template's memory must never meet that.
    await owner.change(template="", is_renewing=True)
    try:
        machine = await around.templates.first_starts.start(owner.record, key)
    except (InsulaError, OSError) as error:
        _log.warning("booting instead of a template", instance_id=spec.id, problem=str(error))
        return None
    boot = BootRecord(machine.started_at_s, first=RENEW)
    return Becoming(machine, partial(become, machine, owner.agent, spec), boot)

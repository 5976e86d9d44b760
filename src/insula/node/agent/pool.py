"""Guests that were renewed ahead and stand still: whoever is created next takes one, instead of starting a machine.

A member is an instance in all but its record in control: it has an id, a MAC, a folder and a user. One that was drawn
is held for a while; configuring an instance with its id takes it, else it is ended. A service that starts ends all that
it finds, so that a kill at any moment costs members and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.domain.capacity import Share
from insula.domain.ids import Kind, new_id, new_mac
from insula.domain.instance import Resources
from insula.domain.port import Port
from insula.node.agent import new_disk
from insula.node.agent.adoption import StandIn, adopt, stand_by
from insula.node.agent.background import Background
from insula.node.agent.guest import GuestAgent
from insula.node.agent.host import available_memory_mib
from insula.node.agent.launch import Launcher
from insula.node.agent.pool_rules import PoolRules, Shape, Wishes
from insula.node.agent.records import InstanceRecord, Records
from insula.node.agent.templates import Templates
from insula.node.agent.users import give_user
from insula.node.hypervisor.driver import Machine
from insula.node.network.wiring import InstanceNetwork
from insula.node.runtime.uids import UidRange
from insula.node.storage.backend import DiskBackend
from insula.node.storage.identity import new_identity
from insula.node.storage.template import Template
from insula.protocol.node import Drawn, InstanceSpec, Nic

NAME = "member"
_SPARE_MIB = 512  # of memory, for the host itself

_log = get_logger(__name__)


@dataclass(frozen=True)
class PoolTools:
    """What the pool needs of the node. `remove` removes an instance's folder with all that belongs to it."""

    records: Records
    launcher: Launcher
    templates: Templates
    disks: DiskBackend
    network: InstanceNetwork
    background: Background
    remove: Callable[[str], Awaitable[None]]
    uids: UidRange | None = None


@dataclass(frozen=True)
class Member:
    """A machine whose guest stands by."""

    record: InstanceRecord
    shape: Shape
    port: Port
    machine: Machine
    guest: StandIn

    async def become(self, spec: InstanceSpec) -> None:
        """Let it go on as this instance. Raises InsulaError."""
        await adopt(self.machine, self.guest, spec)

    async def end(self) -> None:
        """End the machine. May be repeated."""
        await _end(self.machine, self.guest.agent)


class Pool:
    """All members of one node: those that wait, those that were drawn, and those whose instance has not begun."""

    def __init__(self, tools: PoolTools, rules: PoolRules) -> None:
        self._tools = tools
        self._rules = rules
        self._wishes = Wishes()
        self._records: dict[str, InstanceRecord] = {}  # of all that are no instances
        self._waiting: dict[str, Member] = {}
        self._drawn: dict[str, Member] = {}
        self._claimed: dict[str, Member] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._making: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    # For control

    async def draw(self, spec: InstanceSpec) -> Drawn | None:
        """A member for an instance like this one, which is held until it is claimed, but not for long."""
        if self._rules.memory_mib <= 0 or not spec.nics:
            return None
        try:
            key = await self._tools.templates.key_of(spec)
        except (InsulaError, OSError):  # its image is not there; whoever creates the instance is told so
            return None
        if not key:  # it can have no template, and must not take the place of those of its size that can
            return None
        shape = Shape(key, spec.nics[0].space_id, spec.image, spec.resources, spec.firmware, spec.machine_type)
        self._wishes.note(shape)
        self._news.set()
        member = next((each for each in self._waiting.values() if each.shape == shape), None)
        if member is None:
            return None
        found = member.record.spec
        self._drawn[found.id] = self._waiting.pop(found.id)
        self._tools.background.spawn(self._expire(found.id), f"hold of {found.id}")
        return Drawn(found.id, member.port)

    async def claim(self, spec: InstanceSpec) -> InstanceRecord:
        """The record that a new instance begins with: that of the member which was drawn for it, if one was."""
        if spec.id in self._endings:
            await asyncio.wait({self._endings[spec.id]})
        member = self._drawn.pop(spec.id, None)
        if member is None:
            return InstanceRecord(spec)
        del self._records[spec.id]
        self._claimed[spec.id] = member
        return replace(member.record, spec=spec, is_member=False)

    async def begin(self, record: InstanceRecord) -> Member | None:
        """The member that an instance claimed; it is the instance's machine from now on.

        None when there is none, or it is plugged in elsewhere than the instance: nothing is left of it then but its
        disk.
        """
        member = self._claimed.pop(record.spec.id, None)
        if member is None:
            return None
        port = self._tools.network.port(record.spec.nics[0]) if record.spec.nics else None
        if port is None or not port.is_placed_like(member.port):
            _log.warning("booting instead of a guest of the pool, which is plugged in elsewhere", id=record.spec.id)
            await member.end()
            await self._tools.launcher.put_down(record)
            return None
        member.guest.agent.name = record.spec.name
        return member

    async def end_claimed(self, instance_id: str) -> None:
        """End the machine of an instance that claimed it and does not want it now. May be repeated."""
        if (member := self._claimed.pop(instance_id, None)) is not None:
            await member.end()

    # For the node

    @property
    def ids(self) -> frozenset[str]:
        """Of all that have a folder and are no instances."""
        return frozenset(self._records)

    @property
    def disks_in_use(self) -> frozenset[Path]:
        """All files that members' disks are based on."""
        images = (record.image for record in self._records.values())
        return frozenset(disk for image in images if image is not None for disk in image.disks)

    @property
    def share(self) -> Share:
        """What they take of the host, until an instance needs it."""
        return Share(sum(record.spec.resources.memory_mib for record in self._records.values()))

    async def make_room(self, wanted: Resources) -> None:
        """A machine is about to start: end the member that is being made, and those whose memory it may need."""
        await self._give_up()
        for member in self._wishes.least_wanted(self._waiting.values(), key=lambda each: each.shape):
            if available_memory_mib() >= wanted.memory_mib:
                return
            await self._end(member)

    async def end_of(self, image: str) -> None:
        """End all members that wait and are made from the image, and make none until it is asked for again."""
        self._wishes.give_up_image(image)
        await self._give_up()
        for member in [each for each in self._waiting.values() if each.record.uses_image(image)]:
            await self._end(member)

    async def end_in(self, space_id: str) -> None:
        """End all members that wait in a space, which is about to go, and make none until it is asked for again."""
        self._wishes.give_up_space(space_id)
        await self._give_up()
        for member in [each for each in self._waiting.values() if each.shape.space_id == space_id]:
            await self._end(member)

    async def run(self) -> None:
        """Keep as many as are wanted. Until it is cancelled."""
        while self._rules.memory_mib > 0:
            await self._news.wait()
            self._news.clear()
            pause_s = self._rules.pause_s
            while (shape := await self._balance()) is not None:
                await asyncio.sleep(pause_s)
                is_done = self._tools.templates.is_calm and self._may_make(shape) and await self._try_to_make(shape)
                pause_s = self._rules.pause_s if is_done else min(2 * pause_s, self._rules.longest_pause_s)

    async def close(self) -> None:
        """End all of them: the service stops. What claimed one and has not begun boots later."""
        await self._give_up()
        for member in [*self._waiting.values(), *self._drawn.values()]:
            await self._end(member)
        for instance_id in list(self._claimed):
            await self.end_claimed(instance_id)

    # Making and ending

    async def _balance(self) -> Shape | None:
        """End what is not wanted any more; returns a shape of which one is missing."""
        targets = self._wishes.targets(self._rules.memory_mib)
        for member in list(self._waiting.values()):
            if self._count(member.shape) > targets.get(member.shape, 0):
                await self._end(member)
        return next((shape for shape, count in targets.items() if self._count(shape) < count), None)

    def _count(self, shape: Shape) -> int:
        return sum(member.shape == shape for member in self._waiting.values())

    def _may_make(self, shape: Shape) -> bool:
        """Whether it is still wanted, and there is room."""
        if shape not in self._wishes.targets(self._rules.memory_mib):
            return False
        needed_mib = shape.resources.memory_mib
        within_budget = self.share.memory_mib + needed_mib <= self._rules.memory_mib
        return within_budget and available_memory_mib() - _SPARE_MIB >= needed_mib

    async def _try_to_make(self, shape: Shape) -> bool:
        """Whether one was made. A shape that cannot have one is given up until it is asked for again."""
        self._making = asyncio.create_task(self._make(shape))
        try:
            await asyncio.wait({self._making})
        finally:
            self._making.cancel()
            await asyncio.wait({self._making})
            making, self._making = self._making, None
        if making.cancelled():
            return False
        if (error := making.exception()) is None:
            return True
        if not isinstance(error, InsulaError | OSError):
            raise error
        _log.warning("a member of the pool could not be made", image=shape.image, problem=str(error))
        self._wishes.give_up(shape)
        return False

    async def _make(self, shape: Shape) -> None:
        instance_id, mac = new_id(Kind.INSTANCE), new_mac()
        port = await self._tools.network.reserve(shape.space_id, instance_id, mac)
        try:
            nics = (Nic(mac, shape.space_id, port.id),)
            spec = InstanceSpec(instance_id, "", NAME, NAME, shape.image, shape.resources, nics)
            await self._make_at(port, shape, replace(spec, firmware=shape.firmware, machine_type=shape.machine_type))
        except BaseException:
            await asyncio.shield(self._tools.network.release(shape.space_id, port))
            raise

    async def _make_at(self, port: Port, shape: Shape, spec: InstanceSpec) -> None:
        with self._tools.templates.held_off():
            image, template = await self._tools.templates.require(spec, shape.key)
            record = InstanceRecord(spec, image=template.based(image), is_renewing=True, is_member=True)
            self._records[spec.id] = replace(record, identity=new_identity())
            try:
                machine, guest = await self._start(template, self._records[spec.id])
                self._waiting[spec.id] = Member(self._records[spec.id], shape, port, machine, guest)
            except BaseException:
                await asyncio.shield(self._remove(spec.id))
                raise
        self._tools.background.spawn(self._await_end(self._waiting[spec.id]), f"member {spec.id}")

    async def _start(self, template: Template, record: InstanceRecord) -> tuple[Machine, StandIn]:
        tools, spec = self._tools, record.spec
        folder = tools.records.folder_of(spec.id)
        await asyncio.to_thread(tools.records.save, record)
        if tools.uids is not None:
            record = replace(record, uid=await asyncio.to_thread(give_user, tools.uids, folder))
            self._records[spec.id] = record
            await asyncio.to_thread(tools.records.save, record)
        await new_disk.write(record, tools.disks, folder, template)
        machine = await tools.templates.first_starts.start(record, template.key)
        agent = GuestAgent(folder / "agent.sock", NAME)
        try:
            return machine, await stand_by(machine, agent, spec)
        except BaseException:
            await asyncio.shield(_end(machine, agent))
            raise

    async def _give_up(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait({self._making})

    async def _await_end(self, member: Member) -> None:
        """Once it is drawn, whoever claims it finds out by himself."""
        await member.machine.wait()
        if member.record.spec.id in self._waiting:
            _log.warning("the machine of a member of the pool ended", id=member.record.spec.id)
            await self._end(member)
            self._news.set()

    async def _expire(self, instance_id: str) -> None:
        await asyncio.sleep(self._rules.hold_s)
        if (member := self._drawn.get(instance_id)) is not None:
            await self._end(member)

    async def _end(self, member: Member) -> None:
        """End it and remove its folder; nobody can draw or claim it any more."""
        instance_id = member.record.spec.id
        if instance_id not in self._endings:
            self._waiting.pop(instance_id, None)
            self._drawn.pop(instance_id, None)
            self._endings[instance_id] = asyncio.create_task(self._end_now(member))
        await asyncio.shield(self._endings[instance_id])

    async def _end_now(self, member: Member) -> None:
        try:
            await member.end()
            await self._remove(member.record.spec.id)
            await self._tools.network.release(member.shape.space_id, member.port)
        finally:
            self._endings.pop(member.record.spec.id, None)

    async def _remove(self, instance_id: str) -> None:
        await self._tools.remove(instance_id)
        with contextlib.suppress(KeyError):
            del self._records[instance_id]


async def _end(machine: Machine, agent: GuestAgent) -> None:
    await agent.close()
    await machine.kill()

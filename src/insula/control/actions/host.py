"""The host: what it is, has, lacks, and what lies around on it."""

from __future__ import annotations

from dataclasses import replace

from insula.control.actions.caller import Audit, Caller, action
from insula.control.actions.ports import Nodes, Scheduler
from insula.control.store import Store
from insula.domain.access import Scope
from insula.domain.capacity import Capacity
from insula.protocol.node import Check, Leftover, NodeReport

_GIB = 1 << 30


class HostActions:
    def __init__(self, store: Store, nodes: Nodes, scheduler: Scheduler) -> None:
        self.store = store
        self._nodes = nodes
        self._scheduler = scheduler

    @action("host.capacity", Scope.HOST_READ, audit=Audit.NEVER)
    async def capacity(self, caller: Caller) -> tuple[Capacity, ...]:
        """What each node promises, what is taken of it, and what disks take of its own by now."""
        return tuple([await self._with_use(each) for each in await self._scheduler.capacity()])

    async def _with_use(self, found: Capacity) -> Capacity:
        use = await self._nodes.get(found.node).disk_use()
        volumes_gib = sum(use.volumes.values()) / _GIB
        return replace(found, written_instances_gib=use.instances_bytes / _GIB, written_volumes_gib=volumes_gib)

    @action("host.nodes", Scope.HOST_READ, audit=Audit.NEVER)
    async def nodes(self, caller: Caller) -> tuple[NodeReport, ...]:
        return tuple([await self._nodes.get(name).describe() for name in self._nodes.names()])

    @action("host.doctor", Scope.HOST_READ, audit=Audit.NEVER)
    async def doctor(self, caller: Caller) -> tuple[Check, ...]:
        checks: list[Check] = []
        for name in self._nodes.names():
            checks.extend(await self._nodes.get(name).doctor())
        return (*checks, *await self._of_backups())

    async def _of_backups(self) -> list[Check]:
        """What is wrong with schedules: a line for each that has failed."""
        found: list[Check] = []
        for schedule in await self.store.backup_schedules.all():
            host = await self.store.instances.find(schedule.instance_id)
            for what, problem in (("backup", schedule.problem), ("drill", schedule.drill_problem)):
                if problem and host is not None:
                    detail = f"The last {what} of {host.name} by schedule failed: {problem}"
                    found.append(Check("backups", "problem", detail, "Look at `insula backup schedule list`"))
        return found

    @action("host.repair", Scope.HOST_WRITE, audit=Audit.AFTER)
    async def repair(self, caller: Caller, remove: bool) -> tuple[Leftover, ...]:
        """Files, processes and ports that no record owns; found only, unless `remove`. May be repeated."""
        instances = {instance.id for instance in await self.store.instances.all()}
        volumes = {volume.id for volume in await self.store.volumes.all()}
        snapshots = {snapshot.id for snapshot in await self.store.snapshots.all()}
        backups = {backup.id for backup in await self.store.backups.all()}
        # What an operation makes for a while has no record of its own.
        used = {each for operation in await self.store.operations.active() for each in operation.works_on}
        known = frozenset(instances | volumes | snapshots | backups | used)
        found: list[Leftover] = []
        for name in self._nodes.names():
            found.extend(await self._nodes.get(name).leftovers(known, remove))
        return tuple(found)

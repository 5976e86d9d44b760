"""Instances: everything that may be asked of them from outside the guest."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Any

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InvalidInput
from insula.control.actions import from_backup, from_snapshot
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action, audit_line, note
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.actions.preparation import Preparation, warning_of
from insula.control.actions.sizes import apply_wish, resources_of
from insula.control.actions.wishes import (
    MAX_GRACEFUL_S,
    ChangeWish,
    CreateWish,
    ForkWish,
    RebuildWish,
    ResizeWish,
    check_create,
    check_fork,
    check_lease,
)
from insula.control.store import InstanceFilter, Store
from insula.domain.access import Scope
from insula.domain.backup import Backup
from insula.domain.fork import child_names, children_of
from insula.domain.instance import Instance, InstanceState, PortForward, Protocol, Resources, lease_end
from insula.domain.names import check_name, check_tags
from insula.domain.operation import Operation, Verb
from insula.domain.plan import DEFAULT_PLAN, find_plan
from insula.domain.snapshot import Snapshot
from insula.protocol.node import Drawn

ANY_INSTANCE = InstanceFilter()
DEFAULT_GRACEFUL_S = 30.0
_SSH_PORT = 22


class InstanceActions:
    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._acceptor = acceptor
        self._preparation = Preparation(store, nodes)

    def version(self) -> int:
        """Grows with every change of any instance; what was listed at the same version is still true."""
        return self.store.instances.version()

    @action("instances.list", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def list(
        self, caller: Caller, *, after: str = "", limit: int = 100, where: InstanceFilter = ANY_INSTANCE
    ) -> Page[Instance]:
        """Oldest first; `after` is the last id of the page before."""
        found = await self.store.instances.list(caller.project, after=after, limit=limit + 1, where=where)
        items = tuple(found[:limit])
        return Page(items, items[-1].id if len(found) > limit else None)

    @action("instances.show", Scope.INSTANCES_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, instance: str) -> Instance:
        return await self.store.instances.get(caller.project, instance)

    @action("instances.create", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def create(self, caller: Caller, wish: CreateWish) -> Operation:
        """Check everything that can be checked now, then accept. Raises InvalidInput, CapacityExceeded, Conflict."""
        faults = Faults()
        snapshot = await self.store.snapshots.get(caller.project, wish.snapshot) if wish.snapshot else None
        use = from_snapshot.use_of(snapshot, disk_only=wish.cold) if snapshot is not None else None
        backup = await self.store.backups.get(caller.project, wish.backup) if wish.backup else None
        check_create(wish, faults)
        resources = self._size(wish, snapshot or backup, faults)
        if snapshot is not None and use is not None and resources is not None:
            from_snapshot.check_size(resources, snapshot, use, faults)
        if backup is not None and resources is not None:
            from_backup.check_size(resources, backup, faults)
        if backup is not None:
            wish = from_backup.complete(wish, backup, faults)
        else:
            wish = from_snapshot.complete(wish, snapshot, faults)
        await self._preparation.check_user_data(wish.user_data, faults)
        keys = await self._preparation.resolve_keys(caller.project, wish.ssh_keys, faults)
        image = await self._preparation.check_image(caller.project, wish, resources, faults)
        network_id = await self._preparation.find_network(caller.project, wish, faults)
        faults.raise_if_any(f"The instance {wish.name[:80]!r} cannot be created like this")
        assert resources is not None  # noqa: S101 - otherwise there was a fault
        wish = replace(wish, image=image.key if image is not None else wish.image)
        drawn = await self._preparation.draw(caller.project, wish, resources, network_id)
        instance = _new_instance(caller, wish, resources, keys, drawn)
        if snapshot is not None:
            instance = replace(instance, node=snapshot.node, snapshot_id=snapshot.id)
        if backup is not None:
            instance = replace(instance, node=backup.node)
        params = {**({"cold": True} if wish.cold else {}), **(warning_of(image) if image is not None else {})}
        backup_id = backup.id if backup is not None else ""
        return await self._acceptor.new_instance(caller, instance, params, use=use, backup_id=backup_id)

    @action("instances.change", Scope.INSTANCES_WRITE, audit=Audit.AFTER)
    async def change(self, caller: Caller, instance: str, wish: ChangeWish) -> Instance:
        """Rename, tag, protect: at once, without a restart. Raises Conflict when the name is taken."""
        found = await self.store.instances.get(caller.project, instance)
        faults = Faults()
        changes: dict[str, Any] = {}
        if wish.name is not None:
            changes["name"] = wish.name
            with faults.of("name"):
                check_name(wish.name)
        if wish.tags is not None:
            with faults.of("tags"):
                changes["tags"] = check_tags(wish.tags)
        if wish.protected is not None:
            changes["protected"] = wish.protected
        faults.raise_if_any(f"Instance {found.name} cannot be changed like this")
        if not changes:
            return found
        changed = await self.store.instances.change(caller.project, found.id, **changes)
        if wish.name is not None:
            renamed = {"name": changed.name, "before": found.name}
            await note(self.store, caller, Verb.RENAME_INSTANCE, (found.id, changed.name), renamed)
        return changed

    @action("instances.lease", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def lease(self, caller: Caller, instance: str, lease_s: int | None) -> Instance:
        """Give it a lease, renew it, or take it off (None). Raises Conflict when it is protected or being deleted."""
        found = await self.store.instances.get(caller.project, instance)
        faults = Faults()
        if lease_s is not None:
            check_lease(lease_s, faults)
        faults.raise_if_any(f"Instance {found.name} cannot have such a lease")
        line = audit_line(caller, "instances.lease", found.id, "given" if lease_s is not None else "taken off")
        return await self.store.instances.lease(caller.project, found.id, lease_s, line)

    @action("instances.start", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def start(self, caller: Caller, instance: str, cold: bool = False, *, unless_on: bool = False) -> Operation:
        """Boot it, or let a hibernated one go on; `cold` gives its memory up and boots from the disk.

        Raises Conflict for one that runs already; with `unless_on` nothing is to be done then.
        """
        found = await self.store.instances.get(caller.project, instance)
        if unless_on and found.state is InstanceState.RUNNING:
            return await note(self.store, caller, Verb.START_INSTANCE, (found.id, found.name), {"was_on": True})
        if found.state is InstanceState.RUNNING:
            raise Conflict(
                f"Instance {found.name} is running already",
                why="Only a stopped or failed instance can be started",
                todo=f"Use `insula reboot {found.name}` to start it anew",
                code="wrong-state",
            )
        params = {"cold": cold}
        return await self._acceptor.change(caller, found, Verb.START_INSTANCE, InstanceState.STARTING, params=params)

    @action("instances.stop", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def stop(
        self, caller: Caller, instance: str, graceful_s: float = DEFAULT_GRACEFUL_S, *, unless_off: bool = False
    ) -> Operation:
        """Agent or ACPI first, hard after `graceful_s`; 0 is hard at once. The result says which it was.

        Raises Conflict for one that is off already; with `unless_off` nothing is to be done then.
        """
        _check_graceful(graceful_s)
        found = await self.store.instances.get(caller.project, instance)
        params = {"graceful_s": graceful_s}
        if unless_off and found.state is InstanceState.STOPPED:
            return await note(self.store, caller, Verb.STOP_INSTANCE, (found.id, found.name), params)
        return await self._acceptor.change(caller, found, Verb.STOP_INSTANCE, InstanceState.STOPPING, params=params)

    @action("instances.reboot", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def reboot(self, caller: Caller, instance: str, graceful_s: float = DEFAULT_GRACEFUL_S) -> Operation:
        _check_graceful(graceful_s)
        found = await self.store.instances.get(caller.project, instance)
        params = {"graceful_s": graceful_s}
        return await self._acceptor.change(caller, found, Verb.REBOOT_INSTANCE, InstanceState.REBOOTING, params=params)

    @action("instances.pause", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def pause(self, caller: Caller, instance: str) -> Operation:
        """Let a running guest stand still; its memory stays in the host's."""
        found = await self.store.instances.get(caller.project, instance)
        return await self._acceptor.change(caller, found, Verb.PAUSE_INSTANCE, InstanceState.PAUSING)

    @action("instances.resume", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def resume(self, caller: Caller, instance: str) -> Operation:
        """Let a paused guest go on."""
        found = await self.store.instances.get(caller.project, instance)
        return await self._acceptor.change(caller, found, Verb.RESUME_INSTANCE, InstanceState.RESUMING)

    @action("instances.hibernate", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def hibernate(self, caller: Caller, instance: str) -> Operation:
        """Save a running or paused guest's memory to a file and free the host's; a start goes on from there."""
        found = await self.store.instances.get(caller.project, instance)
        return await self._acceptor.change(caller, found, Verb.HIBERNATE_INSTANCE, InstanceState.HIBERNATING)

    @action("instances.fork", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def fork(self, caller: Caller, instance: str, wish: ForkWish) -> Operation:
        """Make children that go on from a running or paused guest's present state, while it goes on itself."""
        found = await self.store.instances.get(caller.project, instance)
        faults = Faults()
        check_fork(wish, faults)
        faults.raise_if_any(f"Instance {found.name} cannot be forked like this")
        taken = {other.name for other in await self.store.instances.list(caller.project, limit=sys.maxsize)}
        names = wish.names or child_names(found.name, wish.count, taken)
        return await self._acceptor.children(caller, found, children_of(found, names, wish.identity), wish.identity)

    @action("instances.resize", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def resize(self, caller: Caller, instance: str, wish: ResizeWish) -> Operation:
        """Another size; a running one reboots for CPUs and memory only. The disk stays unless more is asked for."""
        found = await self.store.instances.get(caller.project, instance)
        faults = Faults()
        base = found.resources
        if wish.plan:
            with faults.of("plan"):
                base = replace(resources_of(find_plan(wish.plan)), disk_gib=found.resources.disk_gib)
        wanted = apply_wish(base, wish.size, faults)
        if wanted.disk_gib < found.resources.disk_gib:
            faults.note("disk_gib", f"must be at least {found.resources.disk_gib}: a disk can only grow")
        await self._preparation.check_minimum(found.image, wanted, faults)
        faults.raise_if_any(f"Instance {found.name} cannot be resized like this")
        plan = wish.plan or found.plan
        if wanted == found.resources and plan == found.plan:
            raise InvalidInput(
                f"Instance {found.name} has this size already",
                why=f"Plan {found.plan}: {wanted.vcpus} vCPU, {wanted.memory_mib} MiB, {wanted.disk_gib} GiB",
                todo="Name another plan, or vcpus, memory_mib, disk_gib, or a limit of its disk or network",
                code="nothing-to-change",
            )
        return await self._acceptor.change(
            caller,
            found,
            Verb.RESIZE_INSTANCE,
            InstanceState.RESIZING,
            params={"plan": plan, "resources": asdict(wanted)},
            place=await self._acceptor.placer(wanted, found.node),
        )

    @action("instances.rebuild", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def rebuild(self, caller: Caller, instance: str, wish: RebuildWish) -> Operation:
        """A fresh disk from an image; name, addresses and size stay. Raises Conflict when it is protected."""
        found = await self.store.instances.get(caller.project, instance)
        _check_unprotected(found, "rebuilt")
        faults = Faults()
        params: dict[str, Any] = await self._preparation.check_rebuild(found, wish, faults)
        faults.raise_if_any(f"Instance {found.name} cannot be rebuilt like this")
        return await self._acceptor.change(
            caller, found, Verb.REBUILD_INSTANCE, InstanceState.REBUILDING, params=params
        )

    @action("instances.revert", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def revert(self, caller: Caller, instance: str, snapshot: str, *, disk_only: bool = False) -> Operation:
        """Back to what it was at a snapshot of it; what it is now is lost. With memory its guest goes on from there.

        Raises Conflict when it is protected, has volumes, or the snapshot is another's.
        """
        found = await self.store.instances.get(caller.project, instance)
        _check_unprotected(found, "reverted")
        then = await self.store.snapshots.get(caller.project, snapshot)
        return await self._acceptor.change(
            caller,
            found,
            Verb.REVERT_INSTANCE,
            InstanceState.REVERTING,
            use=from_snapshot.use_of(then, disk_only=disk_only),
        )

    @action("instances.delete", Scope.INSTANCES_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, instance: str) -> Operation:
        """With its disk. Raises Conflict when it is protected."""
        found = await self.store.instances.get(caller.project, instance)
        _check_unprotected(found, "deleted")
        return await self._acceptor.change(caller, found, Verb.DELETE_INSTANCE, InstanceState.DELETING)

    def _size(self, wish: CreateWish, source: Snapshot | Backup | None, faults: Faults) -> Resources | None:
        resources = source.resources if source is not None and not wish.plan else None
        if resources is None:
            with faults.of("plan"):
                resources = resources_of(find_plan(wish.plan or DEFAULT_PLAN))
        return apply_wish(resources, wish.size, faults) if resources else None


def _new_instance(
    caller: Caller, wish: CreateWish, resources: Resources, keys: tuple[str, ...], drawn: Drawn
) -> Instance:
    forwards = wish.forwards
    if not any(f.guest_port == _SSH_PORT and f.protocol is Protocol.TCP for f in forwards):
        forwards = (PortForward(guest_port=_SSH_PORT), *forwards)
    now = now_utc()
    return Instance(
        id=drawn.id,
        project=caller.project,
        name=wish.name,
        state=InstanceState.CREATING,
        image=wish.image,
        plan=wish.plan,
        resources=resources,
        hostname=(wish.hostname or wish.name).lower(),
        mac=drawn.port.mac,
        node="",
        created_at=now,
        updated_at=now,
        ssh_keys=keys,
        user_data=wish.user_data,
        forwards=forwards,
        ports=(drawn.port,),
        tags=check_tags(wish.tags),
        protected=wish.protected,
        firmware=wish.firmware,
        machine_type=wish.machine_type,
        platform=wish.platform,
        region=wish.region,
        restart_policy=wish.restart_policy,
        lease_s=wish.lease_s,
        lease_until=lease_end(wish.lease_s),
    )


def _check_graceful(graceful_s: float) -> None:
    if not 0 <= graceful_s <= MAX_GRACEFUL_S:
        rule = f"must be from 0 to {MAX_GRACEFUL_S:g} seconds"
        raise InvalidInput(
            f"{graceful_s:g} s is no usable time to stop in",
            why=f"It {rule}",
            todo="Use 30, or 0 to switch off at once",
            fields={"graceful_s": rule},
        )


def _check_unprotected(instance: Instance, verb: str) -> None:
    if instance.protected:
        raise Conflict(
            f"Instance {instance.name} is protected and cannot be {verb}",
            why="Somebody protected it against exactly this",
            todo=f"Lift the protection first: insula unprotect {instance.name}",
            code="protected",
        )

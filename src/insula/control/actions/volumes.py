"""Volumes: everything that may be asked of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from insula.base.clock import now_utc
from insula.base.errors import InsulaError, InvalidInput
from insula.control.actions.acceptance import Acceptor
from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.actions.faults import Faults
from insula.control.actions.ports import Nodes
from insula.control.actions.sizes import MAX_DISK_IOPS, MAX_DISK_MBPS
from insula.control.store import Store, VolumeChange, VolumeFilter
from insula.domain.access import Scope
from insula.domain.ids import Kind, new_id
from insula.domain.names import check_name, check_tags
from insula.domain.operation import Operation, Verb
from insula.domain.volume import FileSystem, Volume, VolumeState, room_of

ANY_VOLUME = VolumeFilter()
MIN_SIZE_GIB, MAX_SIZE_GIB = 1, 16 * 1024


@dataclass(frozen=True)
class VolumeWish:
    """A new volume; `attach_to` is the name or id of an instance that gets it at once. Limits of 0 are none.

    With a `backup` (name or id) it has what that instance's disk held; with `damaged` also when parts of that are lost.
    """

    name: str
    size_gib: int
    file_system: FileSystem = FileSystem.NONE
    attach_to: str = ""
    tags: tuple[str, ...] = ()
    protected: bool = False
    disk_iops: int = 0
    disk_mbps: int = 0
    backup: str = ""
    damaged: bool = False


class VolumeActions:
    """`volume` and `instance` are names or ids everywhere."""

    def __init__(self, store: Store, nodes: Nodes, acceptor: Acceptor) -> None:
        self.store = store
        self._nodes = nodes
        self._acceptor = acceptor

    @action("volumes.list", Scope.VOLUMES_READ, audit=Audit.NEVER)
    async def list(
        self,
        caller: Caller,
        *,
        after: str = "",
        limit: int = 100,
        where: VolumeFilter = ANY_VOLUME,
        instance: str = "",
        used: bool = True,
    ) -> Page[Volume]:
        """Oldest first, only those of an `instance` if one is named; `after` is the last id of the page before.

        Without `used` the nodes are not asked what is written of each.
        """
        if instance:
            host = await self.store.instances.get(caller.project, instance)
            where = replace(where, instance_id=host.id)
        found = await self.store.volumes.list(caller.project, after=after, limit=limit + 1, where=where)
        items = await self._with_use(found[:limit]) if used else tuple(found[:limit])
        return Page(items, items[-1].id if len(found) > limit else None)

    @action("volumes.show", Scope.VOLUMES_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, volume: str) -> Volume:
        return (await self._with_use([await self.store.volumes.get(caller.project, volume)]))[0]

    @action("volumes.create", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def create(self, caller: Caller, wish: VolumeWish) -> Operation:
        """Check everything that can be checked now, then accept. Raises InvalidInput, CapacityExceeded, Conflict."""
        faults = Faults()
        backup = await self.store.backups.get(caller.project, wish.backup) if wish.backup else None
        if backup is not None and wish.file_system is not FileSystem.NONE:
            faults.note("file_system", "must be left out: the backup has its own")
        if wish.damaged and backup is None:
            faults.note("damaged", "must be left out: it is for a backup that has damage")
        with faults.of("name"):
            check_name(wish.name)
        with faults.of("tags"):
            check_tags(wish.tags)
        faults.between("size_gib", wish.size_gib, MIN_SIZE_GIB, MAX_SIZE_GIB)
        _check_limits(wish.disk_iops, wish.disk_mbps, faults)
        faults.raise_if_any(f"The volume {wish.name[:80]!r} cannot be created like this")
        host = await self.store.instances.get(caller.project, wish.attach_to) if wish.attach_to else None
        now = now_utc()
        volume = Volume(
            id=new_id(Kind.VOLUME),
            project=caller.project,
            name=wish.name,
            size_gib=wish.size_gib,
            file_system=wish.file_system,
            state=VolumeState.CREATING,
            node=host.node if host is not None else "",
            instance_id=host.id if host is not None else None,
            created_at=now,
            updated_at=now,
            tags=check_tags(wish.tags),
            protected=wish.protected,
            disk_iops=wish.disk_iops,
            disk_mbps=wish.disk_mbps,
        )
        params = {"damaged": True} if wish.damaged else {}
        return await self._acceptor.new_volume(caller, volume, backup.id if backup is not None else "", params)

    @action("volumes.change", Scope.VOLUMES_WRITE, audit=Audit.AFTER)
    async def change(self, caller: Caller, volume: str, tags: tuple[str, ...] | None, protected: bool | None) -> Volume:
        """Tag and protect, at once; None leaves it. Its name stays, since guests find it by that."""
        found = await self.store.volumes.get(caller.project, volume)
        changes: dict[str, Any] = {}
        if tags is not None:
            changes["tags"] = check_tags(tags)
        if protected is not None:
            changes["protected"] = protected
        return await self.store.volumes.change(caller.project, found.id, **changes) if changes else found

    @action("volumes.attach", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def attach(
        self, caller: Caller, volume: str, instance: str, *, move: bool = False, force: bool = False
    ) -> Operation:
        """Attach it, while the instance runs or not. Raises Conflict when another one has it, unless it may `move`.

        `force` takes it away from the other one even if its guest uses it.
        """
        found = await self.store.volumes.get(caller.project, volume)
        host = await self.store.instances.get(caller.project, instance)
        change = VolumeChange(VolumeState.ATTACHING, attach_to=host.id, moves=move)
        return await self._acceptor.volume(caller, found, Verb.ATTACH_VOLUME, change, params={"force": force})

    @action("volumes.detach", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def detach(self, caller: Caller, volume: str, *, force: bool = False) -> Operation:
        """Take it from its instance; with `force` even if its guest uses it, which loses what is not written yet."""
        found = await self.store.volumes.get(caller.project, volume)
        change = VolumeChange(VolumeState.DETACHING)
        return await self._acceptor.volume(caller, found, Verb.DETACH_VOLUME, change, params={"force": force})

    @action("volumes.grow", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def grow(self, caller: Caller, volume: str, size_gib: int) -> Operation:
        """Make it larger, and the file systems that are mounted from it. Raises InvalidInput when it would shrink."""
        found = await self.store.volumes.get(caller.project, volume)
        faults = Faults()
        faults.between("size_gib", size_gib, MIN_SIZE_GIB, MAX_SIZE_GIB)
        faults.raise_if_any(f"Volume {found.name} cannot have that size")
        if size_gib <= found.size_gib:
            raise InvalidInput(
                f"Volume {found.name} has {found.size_gib} GiB and can only grow",
                why=f"{size_gib} GiB were asked for; what lies beyond would be lost",
                todo="Ask for more, or create a smaller volume and copy what is needed",
                code="volume-shrink",
                fields={"size_gib": f"must be more than {found.size_gib}"},
            )
        place = await self._acceptor.placer(room_of(size_gib), found.node)
        change = VolumeChange(VolumeState.GROWING)
        params = {"size_gib": size_gib}
        return await self._acceptor.volume(caller, found, Verb.GROW_VOLUME, change, params=params, place=place)

    @action("volumes.limit", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def limit(self, caller: Caller, volume: str, disk_iops: int | None, disk_mbps: int | None) -> Operation:
        """Change its limits, also while a guest uses it; 0 is unlimited, None leaves it."""
        found = await self.store.volumes.get(caller.project, volume)
        params = {
            "disk_iops": found.disk_iops if disk_iops is None else disk_iops,
            "disk_mbps": found.disk_mbps if disk_mbps is None else disk_mbps,
        }
        faults = Faults()
        _check_limits(params["disk_iops"], params["disk_mbps"], faults)
        faults.raise_if_any(f"Volume {found.name} cannot have these limits")
        change = VolumeChange(VolumeState.LIMITING)
        return await self._acceptor.volume(caller, found, Verb.LIMIT_VOLUME, change, params=params)

    @action("volumes.delete", Scope.VOLUMES_WRITE, audit=Audit.ACCEPTED)
    async def delete(self, caller: Caller, volume: str) -> Operation:
        """With all that is on it. Raises Conflict while it is attached or protected."""
        found = await self.store.volumes.get(caller.project, volume)
        change = VolumeChange(VolumeState.DELETING)
        return await self._acceptor.volume(caller, found, Verb.DELETE_VOLUME, change)

    async def _with_use(self, volumes: Sequence[Volume]) -> tuple[Volume, ...]:
        """The same with what is written of each; a node that does not answer hides no volume."""
        used: dict[str, int] = {}
        for node in {each.node for each in volumes}:
            with contextlib.suppress(InsulaError):
                used |= (await self._nodes.get(node).disk_use()).volumes
        return tuple(replace(each, used_bytes=used.get(each.id)) for each in volumes)


def _check_limits(disk_iops: int, disk_mbps: int, faults: Faults) -> None:
    faults.between("disk_iops", disk_iops, 0, MAX_DISK_IOPS)
    faults.between("disk_mbps", disk_mbps, 0, MAX_DISK_MBPS)

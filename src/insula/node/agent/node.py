"""A node: every instance of one host, behind the interface that control knows (:class:`protocol.node.NodeApi`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from insula.base.errors import DataCorrupt, InsulaError, NotFound
from insula.base.files import remove_drafts
from insula.base.log import get_logger
from insula.domain.instance import BootPhase
from insula.node.agent import disk_watch, disks, doctor, guest_commands, host, sweep
from insula.node.agent.background import Background
from insula.node.agent.backup_files import BackupFiles
from insula.node.agent.backup_points import BackupPoints
from insula.node.agent.backup_stores import BackupStores
from insula.node.agent.backups import Backups, BackupTools
from insula.node.agent.changes import Changes
from insula.node.agent.disk_copy import CopyTools
from insula.node.agent.forks import Forks, ForkTools
from insula.node.agent.keeper import InstanceKeeper
from insula.node.agent.launch import Launcher, read_console
from insula.node.agent.layers import Layers, LayerTools
from insula.node.agent.measuring import Meter
from insula.node.agent.metadata import Metadata
from insula.node.agent.node_networks import NodeNetworks
from insula.node.agent.parts import NodeParts
from insula.node.agent.pool import Pool, PoolTools
from insula.node.agent.population import Population
from insula.node.agent.publishing import Publisher, PublishingTools
from insula.node.agent.records import Records
from insula.node.agent.restores import Restores, RestoreTools
from insula.node.agent.snapshot_store import SnapshotMemories, SnapshotStore
from insula.node.agent.snapshots import Snapshots
from insula.node.agent.surroundings import Surroundings
from insula.node.agent.templates import Means, Templates
from insula.node.agent.users import give_user
from insula.node.agent.volumes import Volumes
from insula.node.agent.warming import Instances
from insula.node.runtime.cgroups import remove_emptied
from insula.node.storage.volumes import VolumeStore
from insula.protocol.measures import Measures
from insula.protocol.node import (
    BootReport,
    Check,
    ConsoleStream,
    Drawn,
    ExecResult,
    InstanceReport,
    InstanceSpec,
    Leftover,
    NodeReport,
    Power,
    StopReport,
)

_log = get_logger(__name__)

_ADOPT_AT_ONCE = 8


class Node(NodeNetworks):
    """Implements NodeApi. An async context manager: entering adopts what runs, leaving lets it run on."""

    def __init__(self, parts: NodeParts) -> None:
        self._parts = parts
        self._records = Records(parts.folder)
        snapshots = SnapshotStore(parts.folder / "snapshots")
        memories = SnapshotMemories(snapshots, parts.driver)
        points = BackupPoints(parts.folder / "backups" / "points")
        self._population = everybody = Population(parts.folder / "instances", snapshots, points)
        self._keepers, self._damaged = everybody.keepers, everybody.damaged
        self._background = Background()
        self._changes = Changes()
        volumes = VolumeStore(parts.folder / "volumes")
        self._volumes = Volumes(volumes, parts.disks, self._keepers.values)
        launcher = Launcher(self._records, parts.driver, parts.network, volumes)
        self._templates = Templates(
            Means(
                parts.folder / "templates",
                launcher,
                parts.driver,
                parts.network,
                parts.images,
                parts.disks,
                parts.uids,
                parts.cgroups,
            ),
            Instances(self._disks_in_use, everybody.promised_mib, everybody.is_busy),
            parts.templates,
        )
        below = LayerTools(parts.folder / "forks", self._records, parts.disks, self._background, parts.uids)
        self._layers = Layers(below, everybody.all_disks_in_use)
        tools = ForkTools(self._layers, self._records, launcher, parts.disks, self._background, memories)
        self._forks = Forks(tools)
        self._snapshots = Snapshots(snapshots, tools, self._keepers.values)
        means = (self._templates, parts.disks, parts.network, self._background)
        pool = PoolTools(self._records, launcher, *means, self._forget_unkept, parts.uids)
        self._pool = Pool(pool, parts.pool)
        shared = (self._records, launcher, self._background, self._changes)
        of_disks = (self._layers, self._forks, memories, self._volumes)
        copying = (snapshots, everybody, parts.driver, parts.images, parts.disks, parts.uids, parts.cgroups)
        self._publisher = Publisher(PublishingTools(parts.folder / "publishing", *copying))
        self._meter = Meter(self._keepers.values, parts.network, parts.folder)
        self._backups, self._restores, self._backup_files = self._of_backups(points)
        self._around = Surroundings(*shared, self._templates, self._pool, *of_disks, parts.rules)

    def _of_backups(self, points: BackupPoints) -> tuple[Backups, Restores, BackupFiles]:
        folder, disks = self._parts.folder / "backups", self._parts.disks
        stores = BackupStores(folder / "stores", self._parts.folder)
        copying = CopyTools(self._layers, self._records, self._background)
        made = Backups(BackupTools(stores, points, copying, disks, self._keepers.__contains__))
        restores = Restores(RestoreTools(stores, self._layers, self._records, disks))
        return made, restores, BackupFiles(stores, self._background, folder / "files")

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._records.make_folder)
        await asyncio.to_thread(self._snapshots.store.load_all)
        await asyncio.to_thread(self._backups.points.load_all)
        await self._parts.disks.clean(self._parts.folder)
        await self._backup_files.clean()
        await self._parts.images.clean()
        await self._templates.clean()
        await self._publisher.clean()
        await self._parts.network.open()
        at_once = asyncio.Semaphore(_ADOPT_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for instance_id in await asyncio.to_thread(self._records.ids):
                group.create_task(self._bring_back(instance_id, at_once))
        await self._layers.clean()
        await self._remove_superseded()
        self._templates.warm(self._background, self._changes)
        self._background.spawn(self._pool.run(), "pool")
        self._background.spawn(self._parts.network.watch(), "networks")
        self._background.spawn(Metadata(self._parts.network, self._spec_of).run(), "metadata")
        self._background.spawn(disk_watch.watch(self._parts.folder), "disk watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._background.close()
        await self._pool.close()
        await asyncio.gather(*(keeper.detach() for keeper in self._keepers.values()))
        self._templates.close()
        self._forks.close()
        self._parts.network.close()

    # The host

    async def describe(self) -> NodeReport:
        report = await host.describe(self._parts.name, self._parts.folder, self._parts.driver, self._missing())
        taken, spare = self._templates.shares()
        spare += self._pool.share
        return replace(report, templates=taken, spare=spare, forks=self._forks.share + self._snapshots.share)

    async def doctor(self) -> Sequence[Check]:
        checks = await doctor.examine(self._parts.folder, self._parts.network, self._parts.driver_checks)
        return [*checks, await self._templates.check()]

    async def _remove_superseded(self) -> None:
        """Remove old versions of images, and templates made from them, except what a disk needs."""
        if not self._population.is_known:
            return
        in_use = await self._templates.remove_superseded() | self._population.disks_in_use()
        await self._parts.images.remove_superseded(in_use)

    # The pieces of an instance

    async def draw(self, spec: InstanceSpec) -> Drawn | None:
        return await self._pool.draw(spec)

    async def configure(self, spec: InstanceSpec) -> None:
        async with self._held(spec.id, spec) as keeper:
            await keeper.change(spec=spec)

    async def make_disk(self, spec: InstanceSpec, cold: bool = False) -> None:
        async with self._held(spec.id, spec) as keeper:
            image = await self._parts.images.bootable(spec.image)
            # A template's guest knows of no volumes, which an instance that is rebuilt may have.
            is_cold = cold or bool(keeper.record.volumes)
            template = None if is_cold else await self._templates.find(spec, image)
            source = template.based(image) if template is not None else image
            folder = self._records.folder_of(spec.id)
            await disks.make(keeper, spec, source, self._parts.disks, folder, template=template)
            if template is None:
                self._templates.missed(spec)

    async def remove_disk(self, instance_id: str) -> None:
        if instance_id in self._keepers:
            async with self._held(instance_id) as keeper:
                await self._pool.end_claimed(instance_id)
                await disks.remove(keeper, self._records.folder_of(instance_id))

    async def set_disk_aside(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await disks.set_aside(keeper, self._records.folder_of(instance_id))

    async def bring_disk_back(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await disks.bring_back(keeper, self._records.folder_of(instance_id))

    async def drop_disk_aside(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await disks.drop_aside(keeper, self._records.folder_of(instance_id))
        await self._layers.clean()

    async def forget(self, instance_id: str) -> None:
        keeper = self._keepers.get(instance_id)
        if keeper is None:
            await self._forget_unkept(instance_id)
            return
        async with keeper.lock:
            if self._keepers.get(instance_id) is not keeper:
                return
            await keeper.stop(0)
            await self._volumes.release(keeper.record.uid, keeper.record.volumes)
            await self._remove(instance_id)
            del self._keepers[instance_id]
        await self._backups.forget_instance(instance_id)
        self._changes.publish(InstanceReport(instance_id, Power.ABSENT))
        self._changes.forget(instance_id)

    # Life

    async def fork(self, instance_id: str, point: str, keeps_identity: bool) -> int:
        async with self._held(instance_id) as keeper:
            await self._templates.make_room(keeper.record.spec.resources)
            return await self._forks.take(keeper, point, keeps_identity)

    async def make_child(self, spec: InstanceSpec, point: str, keeps_identity: bool) -> None:
        async with self._held(spec.id, spec) as keeper:
            await self._forks.make_child(keeper, point, keeps_identity)

    async def drop_fork(self, point: str) -> None:
        await self._forks.drop(point)

    async def start(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await keeper.start()

    async def pause(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await keeper.pause()

    async def resume(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await keeper.resume()

    async def hibernate(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await keeper.hibernate()

    async def discard_memory(self, instance_id: str) -> None:
        async with self._held(instance_id) as keeper:
            await keeper.discard_memory()

    async def await_ready(
        self, instance_id: str, timeout_s: float, on_phase: Callable[[BootPhase], None]
    ) -> BootReport:
        return await self._keeper(instance_id).await_ready(timeout_s, on_phase)

    async def stop(self, instance_id: str, graceful_s: float) -> StopReport:
        async with self._held(instance_id) as keeper:
            return await keeper.stop(graceful_s)

    async def reboot(self, instance_id: str, graceful_s: float) -> StopReport:
        async with self._held(instance_id) as keeper:
            return await keeper.reboot(graceful_s)

    # Inside the guest

    async def execute(self, instance_id: str, argv: Sequence[str], stdin: bytes, timeout_s: float) -> ExecResult:
        return await guest_commands.execute(self._keeper(instance_id).require_on(), argv, stdin, timeout_s)

    async def read_file(self, instance_id: str, path: str) -> AsyncIterator[bytes]:
        return await guest_commands.read_file(self._keeper(instance_id).require_on(), path)

    async def write_file(self, instance_id: str, path: str, data: AsyncIterator[bytes], mode: int) -> int:
        return await guest_commands.write_file(self._keeper(instance_id).require_on(), path, data, mode)

    async def set_hostname(self, instance_id: str, hostname: str) -> None:
        await guest_commands.set_hostname(self._keeper(instance_id).require_on(), hostname)

    async def console_log(self, instance_id: str, max_bytes: int) -> bytes:
        self._keeper(instance_id)
        return await asyncio.to_thread(read_console, self._records.folder_of(instance_id), max_bytes)

    async def console_attach(self, instance_id: str) -> ConsoleStream:
        return await self._keeper(instance_id).console.attach()

    # Observation

    async def observe(self) -> Sequence[InstanceReport]:
        sound = [keeper.report() for keeper in self._keepers.values()]
        damaged = [InstanceReport(name, Power.CRASHED, problem=str(error)) for name, error in self._damaged.items()]
        return [*sound, *damaged]

    async def measure(self) -> Measures:
        return await self._meter.measure()

    def watch(self) -> AsyncIterator[InstanceReport]:
        return self._changes.watch()

    async def leftovers(self, known: frozenset[str], remove: bool) -> Sequence[Leftover]:
        machines, cgroups = self._templates.machines | self._publisher.machines, self._parts.cgroups
        ground = sweep.Ground(
            self._records, self._volumes, self._snapshots, self._backups, cgroups, self.forget, machines
        )
        return await sweep.sweep(ground, known | self._pool.ids, remove)

    # Keepers

    def _missing(self) -> dict[str, str]:
        cgroups = self._parts.cgroups
        return dict(self._parts.network.missing()) | dict(cgroups.missing if cgroups is not None else {})

    def _disks_in_use(self) -> frozenset[Path]:
        return self._population.disks_in_use() | self._pool.disks_in_use

    def _keeper(self, instance_id: str) -> InstanceKeeper:
        return self._population.get(instance_id)

    @contextlib.asynccontextmanager
    async def _held(self, instance_id: str, spec: InstanceSpec | None = None) -> AsyncIterator[InstanceKeeper]:
        """The instance under its lock; made known first when `spec` is given."""
        if spec is not None and instance_id not in self._keepers:
            self._records.folder_of(instance_id)  # refuses what is no id
            record = await self._pool.claim(spec)
            self._damaged.pop(instance_id, None)
            self._keepers.setdefault(instance_id, InstanceKeeper(record, self._around))
        keeper = self._keeper(instance_id)
        async with keeper.lock:
            if self._keepers.get(instance_id) is not keeper:
                raise NotFound(
                    f"Instance {instance_id} was just deleted",
                    why="Another command deleted it while this one was waiting",
                    todo="Look at `insula list`",
                )
            if spec is not None and keeper.record.uid is None and self._parts.uids is not None:
                await keeper.change(spec=spec)  # the folder must exist before its user
                uid = await asyncio.to_thread(give_user, self._parts.uids, self._records.folder_of(instance_id))
                await keeper.change(uid=uid)
            yield keeper

    async def _bring_back(self, instance_id: str, at_once: asyncio.Semaphore) -> None:
        await asyncio.to_thread(remove_drafts, self._records.folder_of(instance_id))
        try:
            record = await asyncio.to_thread(self._records.load, instance_id)
        except DataCorrupt as error:
            _log.error("an instance cannot be brought back", instance_id=instance_id, problem=str(error))
            self._damaged[instance_id] = error
            return
        except NotFound:  # what is left of a creation or removal that was cut short; the sweep looks after the rest
            await asyncio.to_thread(self._records.remove_empty, instance_id)
            return
        if record.is_member:
            await self._forget_unkept(instance_id)
            return
        keeper = InstanceKeeper(record, self._around)
        self._keepers[instance_id] = keeper
        async with at_once, keeper.lock:
            try:
                if not await keeper.adopt():
                    await keeper.settle()
            except InsulaError as error:
                _log.error("an instance could not be brought back", instance_id=instance_id, problem=str(error))
                keeper.record = replace(keeper.record, problem=str(error))

    async def _remove(self, instance_id: str) -> None:
        if self._parts.cgroups is not None:
            await remove_emptied(self._parts.cgroups.open(instance_id))
        if self._parts.uids is not None:
            await asyncio.to_thread(self._parts.uids.release, self._records.folder_of(instance_id))
        await asyncio.to_thread(self._records.remove, instance_id)

    async def _forget_unkept(self, instance_id: str) -> None:
        folder = self._records.folder_of(instance_id)
        if not folder.is_dir():
            return
        machine = await self._parts.driver.adopt(instance_id, folder)
        if machine is not None:
            await machine.kill()
        await self._parts.network.unplug(folder)
        await self._volumes.release(folder.stat().st_gid)  # which is its user's; see give_user
        await self._remove(instance_id)
        self._damaged.pop(instance_id, None)

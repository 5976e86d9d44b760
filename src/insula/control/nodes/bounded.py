"""A node behind deadlines: whatever it does, control gets an answer or an error in time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from insula.base.errors import DiskFull, HostFailure, InsulaError, Unavailable
from insula.domain.backup import Drill
from insula.domain.image import Image
from insula.domain.instance import BootPhase, Platform
from insula.protocol.backups import (
    BackupReport,
    DiskSource,
    FileEntry,
    StoreFindings,
    StoreOpened,
    StoreSecret,
    StoreSpec,
)
from insula.protocol.measures import Measures
from insula.protocol.network import SpaceOrder, SpaceReport, SpaceTraffic
from insula.protocol.node import (
    BootReport,
    Check,
    ConsoleStream,
    DiskUse,
    Drawn,
    ExecResult,
    GrowReport,
    InstanceReport,
    InstanceSpec,
    Leftover,
    NodeApi,
    NodeReport,
    Progress,
    SnapshotReport,
    StopReport,
    StoredBackup,
    VolumeSpec,
)

T = TypeVar("T")

_QUICK_S = 30.0  # looks at files and sockets only
_SLOW_S = 300.0  # starts programs, copies some data
_MEMORY_S = 3600.0  # writes a guest's memory to a slow disk
_IMAGE_S = 3 * 3600.0  # downloads or builds on a slow line and a slow machine
_BACKUP_S = 7 * 86400.0  # a first backup over a slow line
_GRACE_S = 60.0  # on top of a time limit that the node keeps itself


class BoundedNode:
    """Implements :class:`NodeApi` by another one. Raises its errors, or Unavailable, DiskFull and HostFailure."""

    def __init__(self, name: str, node: NodeApi) -> None:
        self.name = name
        self._node = node

    async def describe(self) -> NodeReport:
        report = await self._ask("describe itself", _QUICK_S, self._node.describe())
        return replace(report, name=self.name)

    async def doctor(self) -> Sequence[Check]:
        return await self._ask("examine its host", _SLOW_S, self._node.doctor())

    async def disk_use(self) -> DiskUse:
        return await self._ask("measure its disks", _QUICK_S, self._node.disk_use())

    async def images(self) -> Sequence[Image]:
        return await self._ask("list its images", _QUICK_S, self._node.images())

    async def prepare_image(self, name: str, progress: Progress) -> Image:
        return await self._ask(f"prepare image {name}", _IMAGE_S, self._node.prepare_image(name, progress))

    async def import_image(
        self, name: str, path: str, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image:
        work = self._node.import_image(name, path, image_format, progress, platform=platform)
        return await self._ask(f"import image {name}", _IMAGE_S, work)

    async def publish_image(self, image_id: str, title: str, snapshot_id: str, progress: Progress) -> Image:
        work = self._node.publish_image(image_id, title, snapshot_id, progress)
        return await self._ask(f"publish {title}", _IMAGE_S, work)

    async def delete_image(self, name: str) -> None:
        await self._ask(f"delete image {name}", _SLOW_S, self._node.delete_image(name))

    async def warm_image(self, spec: InstanceSpec) -> None:
        await self._ask(f"make a template of {spec.image}", _IMAGE_S, self._node.warm_image(spec))

    async def draw(self, spec: InstanceSpec) -> Drawn | None:
        return await self._ask("draw a guest", _QUICK_S, self._node.draw(spec))

    async def make_disk(self, spec: InstanceSpec, cold: bool = False) -> None:
        await self._ask("make the disk", _SLOW_S, self._node.make_disk(spec, cold))

    async def remove_disk(self, instance_id: str) -> None:
        await self._ask("remove the disk", _SLOW_S, self._node.remove_disk(instance_id))

    async def grow_disk(self, instance_id: str, disk_gib: int) -> GrowReport:
        return await self._ask("grow the disk", _SLOW_S, self._node.grow_disk(instance_id, disk_gib))

    async def set_disk_aside(self, instance_id: str) -> None:
        await self._ask("set the disk aside", _QUICK_S, self._node.set_disk_aside(instance_id))

    async def bring_disk_back(self, instance_id: str) -> None:
        await self._ask("bring the disk back", _QUICK_S, self._node.bring_disk_back(instance_id))

    async def drop_disk_aside(self, instance_id: str) -> None:
        await self._ask("drop the old disk", _SLOW_S, self._node.drop_disk_aside(instance_id))

    async def configure(self, spec: InstanceSpec) -> None:
        await self._ask("write the configuration", _QUICK_S, self._node.configure(spec))

    async def match_cards(self, spec: InstanceSpec) -> None:
        await self._ask("change its network cards", _SLOW_S, self._node.match_cards(spec))

    async def limit(self, spec: InstanceSpec) -> None:
        await self._ask("change the limits", _QUICK_S, self._node.limit(spec))

    async def forget(self, instance_id: str) -> None:
        await self._ask("remove the instance", _SLOW_S, self._node.forget(instance_id))

    async def make_volume(self, spec: VolumeSpec) -> None:
        await self._ask("make the volume", _SLOW_S, self._node.make_volume(spec))

    async def remove_volume(self, volume_id: str) -> None:
        await self._ask("remove the volume", _SLOW_S, self._node.remove_volume(volume_id))

    async def attach_volume(self, volume_id: str, instance_id: str) -> None:
        await self._ask("attach the volume", _SLOW_S, self._node.attach_volume(volume_id, instance_id))

    async def detach_volume(self, volume_id: str, instance_id: str, force: bool) -> None:
        await self._ask("detach the volume", _SLOW_S, self._node.detach_volume(volume_id, instance_id, force))

    async def grow_volume(self, volume_id: str, size_gib: int) -> GrowReport:
        return await self._ask("grow the volume", _SLOW_S, self._node.grow_volume(volume_id, size_gib))

    async def limit_volume(self, spec: VolumeSpec) -> None:
        await self._ask("change the volume's limits", _QUICK_S, self._node.limit_volume(spec))

    async def take_snapshot(self, instance_id: str, snapshot_id: str, with_memory: bool) -> SnapshotReport:
        work = self._node.take_snapshot(instance_id, snapshot_id, with_memory)
        return await self._ask("make the snapshot", _MEMORY_S, work)

    async def check_snapshot(self, spec: InstanceSpec, snapshot_id: str, with_memory: bool) -> None:
        await self._ask("look at the snapshot", _QUICK_S, self._node.check_snapshot(spec, snapshot_id, with_memory))

    async def remove_snapshot(self, snapshot_id: str) -> None:
        await self._ask("remove the snapshot", _SLOW_S, self._node.remove_snapshot(snapshot_id))

    async def make_disk_from_snapshot(self, spec: InstanceSpec, snapshot_id: str, with_memory: bool) -> None:
        work = self._node.make_disk_from_snapshot(spec, snapshot_id, with_memory)
        await self._ask("make the disk from the snapshot", _SLOW_S, work)

    async def open_store(self, spec: StoreSpec, secret: StoreSecret) -> StoreOpened:
        return await self._ask("open the backup store", _SLOW_S, self._node.open_store(spec, secret))

    async def forget_store(self, store_id: str) -> None:
        await self._ask("forget the backup store", _SLOW_S, self._node.forget_store(store_id))

    async def store_key(self, store_id: str) -> str:
        return await self._ask("tell the backup store's key", _QUICK_S, self._node.store_key(store_id))

    async def stored_backups(self, store_id: str) -> Sequence[StoredBackup]:
        return await self._ask("list backups", _SLOW_S, self._node.stored_backups(store_id))

    async def make_backup(self, instance_id: str, backup_id: str, store_id: str, progress: Progress) -> BackupReport:
        work = self._node.make_backup(instance_id, backup_id, store_id, progress)
        return await self._ask("make the backup", _BACKUP_S, work)

    async def abandon_backup(self, backup_id: str) -> None:
        await self._ask("give up the backup", _SLOW_S, self._node.abandon_backup(backup_id))

    async def remove_backups(self, store_id: str, backup_ids: Sequence[str]) -> None:
        await self._ask("remove backups", _SLOW_S, self._node.remove_backups(store_id, backup_ids))

    async def prune_store(self, store_id: str) -> int:
        return await self._ask("prune the backup store", _BACKUP_S, self._node.prune_store(store_id))

    async def repair_store(self, store_id: str) -> int:
        return await self._ask("repair the backup store", _BACKUP_S, self._node.repair_store(store_id))

    async def check_store(self, store_id: str, read_data: bool) -> StoreFindings:
        return await self._ask("check the backup store", _BACKUP_S, self._node.check_store(store_id, read_data))

    async def make_disk_from_backup(
        self, spec: InstanceSpec, store_id: str, backup_id: str, progress: Progress
    ) -> None:
        work = self._node.make_disk_from_backup(spec, store_id, backup_id, progress)
        await self._ask(f"restore {spec.name}", _BACKUP_S, work)

    async def make_volume_from_backup(
        self, spec: VolumeSpec, source: DiskSource, progress: Progress
    ) -> Sequence[tuple[int, int]]:
        work = self._node.make_volume_from_backup(spec, source, progress)
        return await self._ask(f"restore volume {spec.name}", _BACKUP_S, work)

    async def backup_files(self, store_id: str, backup_id: str, path: str) -> Sequence[FileEntry]:
        work = self._node.backup_files(store_id, backup_id, path)
        return await self._ask("list the backup's files", _IMAGE_S, work)

    async def read_backup_file(self, store_id: str, backup_id: str, path: str) -> AsyncIterator[bytes]:
        work = self._node.read_backup_file(store_id, backup_id, path)
        return await self._ask("read a file of the backup", _IMAGE_S, work)

    async def note_drill(self, store_id: str, backup_id: str, drill: Drill) -> None:
        await self._ask("note the drill", _SLOW_S, self._node.note_drill(store_id, backup_id, drill))

    async def fork(self, instance_id: str, point: str, keeps_identity: bool) -> int:
        work = self._node.fork(instance_id, point, keeps_identity)
        return await self._ask("fork the instance", _MEMORY_S, work)

    async def make_child(self, spec: InstanceSpec, point: str, keeps_identity: bool) -> None:
        await self._ask("make the disk of a fork", _SLOW_S, self._node.make_child(spec, point, keeps_identity))

    async def drop_fork(self, point: str) -> None:
        await self._ask("let go of a fork's memory", _SLOW_S, self._node.drop_fork(point))

    async def start(self, instance_id: str) -> None:
        await self._ask("start the machine", _SLOW_S, self._node.start(instance_id))

    async def pause(self, instance_id: str) -> None:
        await self._ask("pause the machine", _QUICK_S, self._node.pause(instance_id))

    async def resume(self, instance_id: str) -> None:
        await self._ask("resume the machine", _QUICK_S, self._node.resume(instance_id))

    async def hibernate(self, instance_id: str) -> None:
        await self._ask("save the machine's memory", _MEMORY_S, self._node.hibernate(instance_id))

    async def discard_memory(self, instance_id: str) -> None:
        await self._ask("discard the saved memory", _QUICK_S, self._node.discard_memory(instance_id))

    async def await_ready(
        self, instance_id: str, timeout_s: float, on_phase: Callable[[BootPhase], None]
    ) -> BootReport:
        work = self._node.await_ready(instance_id, timeout_s, on_phase)
        return await self._ask("see the guest ready", timeout_s + _GRACE_S, work)

    async def stop(self, instance_id: str, graceful_s: float) -> StopReport:
        return await self._ask("stop the machine", graceful_s + _GRACE_S, self._node.stop(instance_id, graceful_s))

    async def reboot(self, instance_id: str, graceful_s: float) -> StopReport:
        work = self._node.reboot(instance_id, graceful_s)
        return await self._ask("reboot the machine", graceful_s + _GRACE_S, work)

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        return await self._ask("change its networks", _SLOW_S, self._node.apply_space(order))

    async def remove_space(self, space_id: str) -> None:
        await self._ask("remove a network", _SLOW_S, self._node.remove_space(space_id))

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        return await self._ask("list its networks", _QUICK_S, self._node.space_reports())

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        return await self._ask("tell a network's traffic", _QUICK_S, self._node.space_traffic(space_id))

    async def execute(self, instance_id: str, argv: Sequence[str], stdin: bytes, timeout_s: float) -> ExecResult:
        work = self._node.execute(instance_id, argv, stdin, timeout_s)
        return await self._ask("run a command in the guest", timeout_s + _GRACE_S, work)

    async def read_file(self, instance_id: str, path: str) -> AsyncIterator[bytes]:
        return await self._ask("open a file in the guest", _SLOW_S, self._node.read_file(instance_id, path))

    async def write_file(self, instance_id: str, path: str, data: AsyncIterator[bytes], mode: int) -> int:
        # The sender sets the pace of `data`, hence the long deadline.
        return await self._ask(
            "write a file in the guest", _IMAGE_S, self._node.write_file(instance_id, path, data, mode)
        )

    async def set_hostname(self, instance_id: str, hostname: str) -> None:
        await self._ask("set the guest's host name", _QUICK_S, self._node.set_hostname(instance_id, hostname))

    async def console_log(self, instance_id: str, max_bytes: int) -> bytes:
        return await self._ask("read the console's log", _QUICK_S, self._node.console_log(instance_id, max_bytes))

    async def console_attach(self, instance_id: str) -> ConsoleStream:
        return await self._ask("attach to the console", _QUICK_S, self._node.console_attach(instance_id))

    async def observe(self) -> Sequence[InstanceReport]:
        return await self._ask("look at its instances", _QUICK_S, self._node.observe())

    async def measure(self) -> Measures:
        return await self._ask("measure what is used", _QUICK_S, self._node.measure())

    def watch(self) -> AsyncIterator[InstanceReport]:
        return self._node.watch()

    async def leftovers(self, known: frozenset[str], remove: bool) -> Sequence[Leftover]:
        return await self._ask("look for leftovers", _SLOW_S, self._node.leftovers(known, remove))

    async def _ask(self, what: str, timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
        async with self._deadline(what, timeout_s):
            return await work

    @asynccontextmanager
    async def _deadline(self, what: str, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except InsulaError:
            raise
        except TimeoutError as error:
            raise Unavailable(
                f"Node {self.name} did not {what} in time",
                why=f"It had {timeout_s:g} s",
                todo="Try again; look at the host's load with `insula doctor`",
                code="node-timeout",
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"Node {self.name} could not {what}: no space is left on its disk",
                    why=str(error),
                    todo="Free space on the disk that holds Insula's folder",
                ) from error
            raise HostFailure(
                f"Node {self.name} could not {what}",
                why=str(error),
                todo="Look at the host with `insula doctor`",
            ) from error

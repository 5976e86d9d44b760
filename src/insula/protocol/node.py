"""How control talks to a node. The node never calls back; control asks, waits on streams, and reads reports.

Every method may be repeated: doing what is done already succeeds, removing what is gone succeeds. Errors are
:class:`insula.base.errors.InsulaError`. All messages are frozen values that msgspec turns into JSON and back, so the
in-process and the remote implementation are the same to the caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from insula.domain.backup import Drill
from insula.domain.capacity import Share
from insula.domain.image import Image
from insula.domain.instance import BootPhase, Firmware, MachineType, Platform, Resources, RestartPolicy
from insula.domain.port import Port
from insula.domain.snapshot import Consistency
from insula.domain.volume import FileSystem
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
from insula.protocol.network import NetworkNode


@dataclass(frozen=True)
class Nic:
    """A network card. `port_id` is where it is plugged in, in the space of that id; one without a space is in a network
    of its own, which leads nowhere."""

    mac: str
    space_id: str = ""
    port_id: str = ""


@dataclass(frozen=True)
class InstanceSpec:
    """Everything a node needs to know to run an instance; the node keeps its own copy.

    `number` and `region` are what its guest is told of itself beside the rest; 0 and empty: nothing was chosen.
    """

    id: str
    project: str
    name: str
    hostname: str
    image: str
    resources: Resources
    nics: tuple[Nic, ...] = ()  # without one it is cut off from everything
    ssh_keys: tuple[str, ...] = ()
    user_data: str = ""
    firmware: Firmware = Firmware.AUTO
    machine_type: MachineType = MachineType.AUTO
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    platform: Platform = Platform.AUTO
    number: int = 0
    region: str = ""

    @property
    def mac(self) -> str:
        """Of its first network card; empty when it has none."""
        return self.nics[0].mac if self.nics else ""


@dataclass(frozen=True)
class VolumeSpec:
    """Everything a node needs to know of a volume; the node keeps its own copy. Limits of 0 are none."""

    id: str
    project: str
    name: str
    size_gib: int
    file_system: FileSystem = FileSystem.NONE
    disk_iops: int = 0
    disk_mbps: int = 0


@dataclass(frozen=True)
class GrowReport:
    """What a guest made of a disk that grew: `grown` are the places where the file systems are mounted that grew with
    it. `todo` says what is left to do, empty when nothing is."""

    grown: tuple[str, ...] = ()
    todo: str = ""


@dataclass(frozen=True)
class DiskUse:
    """What is written on the node's disk, in bytes: for all instances together, and for each volume by its id."""

    instances_bytes: int = 0
    volumes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SnapshotReport:
    """A snapshot that is made. `size_bytes` is what its own files take of the host's disk.

    `paused_ms` is how long the guest, or its disk, stood still, `frozen_ms` how long it wrote nothing for the sake of a
    disk in order.
    """

    consistency: Consistency
    size_bytes: int
    paused_ms: int = 0
    frozen_ms: int = 0


@dataclass(frozen=True)
class StoredBackup:
    """A backup as the store tells of it; `spec` is what its instance was. `problem` says why it cannot be used."""

    id: str
    made_at: datetime
    spec: InstanceSpec | None
    consistency: Consistency = Consistency.CRASH
    size_bytes: int = 0
    added_bytes: int = 0
    drills: Sequence[Drill] = ()
    problem: str = ""


class Power(StrEnum):
    """What the node observes of a machine."""

    ABSENT = "absent"  # no folder, or no disk yet
    OFF = "off"  # ended by command or from inside
    BOOTING = "booting"
    ON = "on"  # the guest answered since this boot
    PAUSED = "paused"
    HIBERNATED = "hibernated"  # off, with its memory saved
    CRASHED = "crashed"  # ended by itself without a shutdown, and is not being restarted


@dataclass(frozen=True)
class InstanceReport:
    """What the node sees. `started_at_s` is Unix time of the machine's start, 0 when off."""

    id: str
    power: Power
    pid: int = 0
    started_at_s: float = 0.0
    restarts: int = 0
    problem: str = ""
    phases: tuple[BootPhase, ...] = ()


class StopWay(StrEnum):
    """How a guest came to stand still, told to the user."""

    ALREADY_OFF = "already-off"
    AGENT = "agent"
    ACPI = "acpi"
    HARD = "hard"


@dataclass(frozen=True)
class StopReport:
    way: StopWay
    took_ms: int


@dataclass(frozen=True)
class BootReport:
    """A finished boot. `ready_by` is what answered first: agent or ssh."""

    phases: tuple[BootPhase, ...]
    ready_by: str
    took_ms: int


@dataclass(frozen=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


@dataclass(frozen=True)
class Check:
    """One line of the doctor: `ok`, `note` (works, could be better), or `problem`; `todo` says how to mend it."""

    name: str
    verdict: str
    detail: str
    todo: str = ""


@dataclass(frozen=True)
class NodeReport:
    """What the host is. Disk numbers are of the file system that holds the node's folder.

    `templates`, `spare` and `forks` are what templates and forks take of it; see
    :class:`insula.domain.capacity.Capacity`.
    """

    name: str
    cores: int
    memory_mib: int
    disk_total_gib: float
    disk_free_gib: float
    accelerator: str  # kvm or tcg
    capabilities: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)  # capability → why not, what to do
    templates: Share = field(default_factory=Share)
    spare: Share = field(default_factory=Share)
    forks: Share = field(default_factory=Share)


@dataclass(frozen=True)
class Leftover:
    """Something on the host that no record owns. `what` is file, process, port, cgroup, namespace or network."""

    what: str
    name: str
    removed: bool = False


@dataclass(frozen=True)
class Drawn:
    """A guest that was renewed ahead waits for the instance that is created with this id and port, but not for long.

    The port's number and addresses are the node's choice. One that is plugged in elsewhere is of no use.
    """

    id: str
    port: Port


class Progress(Protocol):
    """Called as work advances; `percent` is -1 when unknown. Must be cheap and must not raise."""

    def __call__(self, message: str, percent: int = -1) -> None: ...


class ConsoleStream(Protocol):
    """A two-way byte stream to a guest's serial console."""

    async def read(self) -> bytes: ...  # empty at the end
    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...


class NodeApi(NetworkNode, Protocol):
    """What every node offers to control."""

    async def describe(self) -> NodeReport: ...
    async def doctor(self) -> Sequence[Check]: ...
    async def disk_use(self) -> DiskUse: ...

    # Images
    async def images(self) -> Sequence[Image]: ...
    async def prepare_image(self, name: str, progress: Progress) -> Image: ...
    async def import_image(
        self, name: str, path: str, image_format: str, progress: Progress, *, platform: Platform = Platform.NOCLOUD
    ) -> Image: ...  # `platform` is what its machines shall say that they are
    async def publish_image(
        self, image_id: str, title: str, snapshot_id: str, progress: Progress
    ) -> Image: ...  # of the snapshot's disk, without what is its instance's own; known by its id from then on
    async def delete_image(self, name: str) -> None: ...
    async def warm_image(
        self, spec: InstanceSpec
    ) -> None: ...  # new instances like this one then go on from a template

    # The pieces of an instance, each with its inverse
    async def draw(self, spec: InstanceSpec) -> Drawn | None: ...  # of `spec` only what makes it fit for such a guest
    async def make_disk(
        self, spec: InstanceSpec, cold: bool = False
    ) -> None: ...  # `cold`: from the image's own disk, so that the first start is a boot
    async def remove_disk(self, instance_id: str) -> None: ...
    async def grow_disk(self, instance_id: str, disk_gib: int) -> GrowReport: ...  # while it runs as well
    async def set_disk_aside(self, instance_id: str) -> None: ...  # rebuild keeps the old disk until the new one boots
    async def bring_disk_back(self, instance_id: str) -> None: ...
    async def drop_disk_aside(self, instance_id: str) -> None: ...
    async def configure(self, spec: InstanceSpec) -> None: ...  # writes the node's copy: takes effect at the next start
    async def match_cards(self, spec: InstanceSpec) -> None: ...  # the same, and a running machine gets and loses cards
    async def limit(self, spec: InstanceSpec) -> None: ...  # the same, and lets a running machine have its limits
    async def forget(self, instance_id: str) -> None: ...  # stops it hard if needed, removes all that is left of it

    # Volumes. The instance's own record names those that it has, so every machine of it has them.
    async def make_volume(self, spec: VolumeSpec) -> None: ...  # with its file system; one that is there is left alone
    async def remove_volume(self, volume_id: str) -> None: ...  # Conflict while an instance has it
    async def attach_volume(self, volume_id: str, instance_id: str) -> None: ...
    async def detach_volume(
        self, volume_id: str, instance_id: str, force: bool
    ) -> None: ...  # Conflict while its guest uses it, unless forced; without an instance's id from the one that has it
    async def grow_volume(self, volume_id: str, size_gib: int) -> GrowReport: ...
    async def limit_volume(self, spec: VolumeSpec) -> None: ...  # at once

    # Snapshots. They stay when their instance goes.
    async def take_snapshot(
        self, instance_id: str, snapshot_id: str, with_memory: bool
    ) -> SnapshotReport: ...  # while it runs, stands still or is off
    async def check_snapshot(
        self, spec: InstanceSpec, snapshot_id: str, with_memory: bool
    ) -> None: ...  # raises what making a disk from it would
    async def remove_snapshot(self, snapshot_id: str) -> None: ...  # what others are based on stays for them
    async def make_disk_from_snapshot(
        self, spec: InstanceSpec, snapshot_id: str, with_memory: bool
    ) -> None: ...  # its own as it was, or another instance's new one; with memory its next start goes on from there

    # Backups. Stores are elsewhere, and others write to them as well.
    async def open_store(
        self, spec: StoreSpec, secret: StoreSecret
    ) -> StoreOpened: ...  # makes it where there is none; usable from now on
    async def forget_store(self, store_id: str) -> None: ...  # how it is opened; what is in it stays
    async def store_key(self, store_id: str) -> str: ...  # its recovery key, to print it again
    async def stored_backups(self, store_id: str) -> Sequence[StoredBackup]: ...  # whoever made them, oldest first
    async def make_backup(
        self, instance_id: str, backup_id: str, store_id: str, progress: Progress
    ) -> BackupReport: ...  # running or not; repeated it goes on with the same instant
    async def abandon_backup(self, backup_id: str) -> None: ...  # what was kept of an instance for one that failed
    async def remove_backups(
        self, store_id: str, backup_ids: Sequence[str]
    ) -> None: ...  # the space comes back with a prune
    async def prune_store(self, store_id: str) -> int: ...  # the bytes that it freed
    async def repair_store(self, store_id: str) -> int: ...  # how many pieces are lost; the next backups read all
    async def check_store(
        self, store_id: str, read_data: bool
    ) -> StoreFindings: ...  # with `read_data` every byte is read, else only what is there
    async def make_disk_from_backup(
        self, spec: InstanceSpec, store_id: str, backup_id: str, progress: Progress
    ) -> None: ...  # a new instance's; its first start is a boot
    async def make_volume_from_backup(
        self, spec: VolumeSpec, source: DiskSource, progress: Progress
    ) -> Sequence[tuple[int, int]]: ...  # the bytes (from, to) that are lost, and zeros on it
    async def backup_files(self, store_id: str, backup_id: str, path: str) -> Sequence[FileEntry]: ...
    async def read_backup_file(self, store_id: str, backup_id: str, path: str) -> AsyncIterator[bytes]: ...
    async def note_drill(self, store_id: str, backup_id: str, drill: Drill) -> None: ...

    # Children of a running guest
    async def fork(
        self, instance_id: str, point: str, keeps_identity: bool
    ) -> int: ...  # makes the fork point of that name; the milliseconds that the guest stood still
    async def make_child(
        self, spec: InstanceSpec, point: str, keeps_identity: bool
    ) -> None: ...  # its disk; its first start goes on from there, with the identity never with a network
    async def drop_fork(self, point: str) -> None: ...  # no further child goes on from it

    # Life
    async def start(self, instance_id: str) -> None: ...  # from its saved memory if there is one; ends a pause
    async def pause(self, instance_id: str) -> None: ...
    async def resume(self, instance_id: str) -> None: ...
    async def hibernate(self, instance_id: str) -> None: ...  # memory saved, machine ended
    async def discard_memory(self, instance_id: str) -> None: ...  # the next start boots from the disk
    async def await_ready(
        self, instance_id: str, timeout_s: float, on_phase: Callable[[BootPhase], None]
    ) -> BootReport: ...
    async def stop(self, instance_id: str, graceful_s: float) -> StopReport: ...  # graceful_s=0: hard at once
    async def reboot(
        self, instance_id: str, graceful_s: float
    ) -> StopReport: ...  # comes back by itself; then await_ready

    # Inside the guest
    async def execute(self, instance_id: str, argv: Sequence[str], stdin: bytes, timeout_s: float) -> ExecResult: ...
    async def read_file(self, instance_id: str, path: str) -> AsyncIterator[bytes]: ...
    async def write_file(self, instance_id: str, path: str, data: AsyncIterator[bytes], mode: int) -> int: ...
    async def set_hostname(self, instance_id: str, hostname: str) -> None: ...
    async def console_log(self, instance_id: str, max_bytes: int) -> bytes: ...
    async def console_attach(self, instance_id: str) -> ConsoleStream: ...

    # Observation
    async def observe(self) -> Sequence[InstanceReport]: ...
    async def measure(self) -> Measures: ...  # what counters and gauges show now, in one pass over all machines
    def watch(self) -> AsyncIterator[InstanceReport]: ...  # every change from now on
    async def leftovers(
        self, known: frozenset[str], remove: bool
    ) -> Sequence[Leftover]: ...  # `known` are the ids of instances, volumes, snapshots, backups

"""What every hypervisor driver offers, and the optional capabilities that some have.

A driver starts and adopts *machines*. A machine outlives the service; adopting one finds it again. All files that a
machine may touch are named in its :class:`MachineSpec`; the driver confines it to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from insula.domain.instance import Firmware, MachineType, Resources


@dataclass(frozen=True)
class DirectBoot:
    """A kernel that the hypervisor loads itself, without firmware's boot menu or a boot loader."""

    kernel: Path
    initrd: Path | None
    command_line: str


@dataclass(frozen=True)
class TapNic:
    """A tap device that is open already; the driver passes `fd` on and the caller closes it after the start."""

    mac: str
    fd: int


@dataclass(frozen=True)
class StreamNic:
    """A Unix socket that carries Ethernet frames (QEMU `-netdev stream`)."""

    mac: str
    socket: Path


Nic = TapNic | StreamNic


@dataclass(frozen=True)
class GuestMemory:
    """Memory made by the caller, who keeps `fd` open (see `runtime.shared_memory`).

    A machine writes to it, until it is saved and the memory is sealed; from then on, with `is_sealed`, any number of
    machines go on from there, each with a private copy of the pages that it changes.
    """

    fd: int
    is_sealed: bool = False


@dataclass(frozen=True)
class MachineVolume:
    """A disk that comes and goes while the machine runs. The guest sees `name` and, as serial number, `id`.

    `file` is qcow2. `slot` (0 to 254) is its place on the machine's controller, which it keeps as long as it is
    attached: a machine that is saved needs every volume in its slot again. Limits are operations and megabytes a
    second, 0 for none.
    """

    id: str
    name: str
    file: Path
    slot: int
    disk_iops: int = 0
    disk_mbps: int = 0


@dataclass(frozen=True)
class Plate:
    """What a machine's type plate says to its guest (SMBIOS). What is empty is left to the hypervisor.

    `serial` is the machine's UUID when it is empty, and `board_serial` that of the main board. The UUID is the
    hypervisor's choice, but begins with `uuid_prefix`, of at most 8 hexadecimal digits.
    """

    manufacturer: str
    serial: str = ""
    product: str = ""
    board_serial: str = ""
    uuid_prefix: str = ""


@dataclass(frozen=True)
class MachineSpec:
    """One machine. `folder` holds its own files and sockets (`qmp.sock`, `agent.sock`, `console.sock`, `console.log`).

    `disk` is qcow2 inside `folder`; `read_only` are further files it needs (its backing image). `firmware` and
    `machine_type` are resolved, never AUTO. `uid` is the unprivileged user it runs as, None for our own. With `saved`,
    a file that :meth:`CanSave.save` wrote, the machine goes on from there instead of booting; when it was saved with a
    `memory` of the caller's, the file holds its devices only, and `memory` is needed again, sealed. Without a `plate`
    it says what the hypervisor says.
    """

    id: str
    name: str
    folder: Path
    resources: Resources
    machine_type: MachineType
    firmware: Firmware
    disk: Path
    read_only: tuple[Path, ...] = ()
    seed: Path | None = None
    direct_boot: DirectBoot | None = None
    nic: Nic | None = None
    uid: int | None = None
    saved: Path | None = None
    memory: GuestMemory | None = None
    volumes: tuple[MachineVolume, ...] = ()
    plate: Plate | None = None


@dataclass(frozen=True)
class ForkFiles:
    """Where a fork of a machine goes.

    `layer` is a qcow2 file without content over the present disk, `name` tells it from the machine's other layers (at
    most 24 letters and digits). `devices` is made; `memory` is a descriptor of zeros, as large as the guest's memory.
    """

    name: str
    layer: Path
    devices: Path
    memory: int


@dataclass(frozen=True)
class LayerFiles:
    """A layer that a machine turns its disk's changes to.

    `layer` is a qcow2 file without content over the present disk, `name` tells it from the machine's other layers (at
    most 24 letters and digits). The guest's firmware variables, if it has any, are copied to `nvram`.
    """

    name: str
    layer: Path
    nvram: Path


class MachineStatus(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    STARVED = "starved"  # stands still: the host had no room for what its guest wrote; resumed, it writes again
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a machine ended."""

    GUEST_SHUTDOWN = "guest-shutdown"  # from inside, or it obeyed the power button
    COMMANDED = "commanded"  # by :meth:`Machine.kill`
    CRASHED = "crashed"  # killed from outside, aborted, panicked


@dataclass(frozen=True)
class MachineEvent:
    """Something that happened to a machine: `kind` is `reset`, `starved`, `paused`, `resumed`, `panicked` or `ended`.

    `starved` comes before the `paused` that follows from it; see :class:`MachineStatus`.
    """

    kind: str
    end_reason: EndReason | None = None
    detail: str = ""


class Machine(Protocol):
    """A running (or just ended) machine."""

    @property
    def spec_id(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def started_at_s(self) -> float: ...  # Unix time; survives adoption

    async def status(self) -> MachineStatus: ...
    async def press_power_button(self) -> None: ...  # ACPI; a guest may ignore it
    async def reset(self) -> None: ...
    async def kill(self) -> None: ...  # returns when the process is gone; repeatable
    async def wait(self) -> EndReason: ...  # within a second of the end
    def events(self) -> AsyncIterator[MachineEvent]: ...  # from now on; ends after `ended`
    async def detach(self) -> None: ...  # let go of it without ending it (the service stops)


class Driver(Protocol):
    """Starts and finds machines."""

    @property
    def name(self) -> str: ...

    async def start(self, spec: MachineSpec) -> Machine:
        """Start it; returns when it executes guest code, or stands still with its saved memory loaded.

        Not repeatable while it runs: raises Conflict.

        Raises HostFailure with the last lines of the hypervisor's log; nothing is left running then.
        """
        ...

    async def adopt(self, spec_id: str, folder: Path) -> Machine | None:
        """The machine that runs in `folder`, or None. Never mistakes another process for it (pid re-use)."""
        ...

    async def last_end(self, folder: Path) -> EndReason | None:
        """Why the machine that last ran in `folder` ended, also when no service was there to see it; None: never ran.

        Only asked when :meth:`adopt` found none.
        """
        ...

    async def accelerator(self) -> str: ...  # "kvm", "tcg" or "none"

    async def fingerprint(self) -> str:
        """What saved devices depend on beside their machine's specification: version, firmware, processor.

        Devices that were saved under another fingerprint may not be loaded.
        """
        ...


@runtime_checkable
class CanPause(Protocol):
    """Optional: a machine that can stand still and go on."""

    async def pause(self) -> None: ...
    async def resume(self) -> None: ...


@runtime_checkable
class CanSave(CanPause, Protocol):
    """Optional: a machine that can be written to a file, and go on from it in another process."""

    async def save(self, target: Path) -> None:
        """Write memory and devices of a machine that stands still, and leave it so; whole or not at all.

        Repeatable, also after a save that nobody saw end. Raises DiskFull and HostFailure. The file is only for the
        same specification, disk, accelerator and version of the hypervisor.
        """
        ...


@runtime_checkable
class CanFork(CanPause, Protocol):
    """Optional: a machine whose present state others can go on from, or its disk's alone, while it goes on itself."""

    async def fork(self, files: ForkFiles) -> int:
        """Write memory and devices as they are at one instant; from that instant on the disk's changes go to the layer.

        The guest stands still for some milliseconds, which are returned and which no event tells of; one that stood
        still before does so afterwards. Once the memory is sealed, any number of machines go on from there, each with a
        disk over the one that was left. Raises HostFailure and Unavailable: then :meth:`settle_fork` says where the
        disk's changes go. Every try needs files and a name of its own.
        """
        ...

    async def add_layer(self, files: LayerFiles) -> int:
        """From one instant on the disk's changes go to the layer; returns for how many milliseconds that stopped it.

        Raises HostFailure and Unavailable: then :meth:`settle_fork` says where the disk's changes go. Every try needs
        a layer and a name of its own.
        """
        ...

    async def settle_fork(self, name: str, is_on: bool) -> bool:
        """End a fork or an :meth:`add_layer` that failed or that nobody saw end: the guest goes on if it `is_on`.

        Returns whether the disk's changes go to the layer of that name; if not, the layer is let go of. Repeatable.
        """
        ...

    async def merge_layers(self, base: Path) -> None:
        """Take all that lies between the present layer and the file `base`, below it, into the present layer.

        The guest runs on. The layers between are left as they are, and the present one is based on `base` from then on.
        Repeatable, also after one that nobody saw end. Raises HostFailure; the disk is what it was then.
        """
        ...


@runtime_checkable
class CanCutNetwork(Protocol):
    """Optional: a machine whose network cable can be pulled out."""

    async def set_link(self, up: bool) -> None:
        """Plug its cable in or out, which the guest sees; nothing happens when it has no network card. Repeatable.

        A machine that was saved with its link down has it down wherever it goes on.
        """
        ...


@runtime_checkable
class CanPlugCards(Protocol):
    """Optional: further network cards that come and go while the machine runs. Everything may be repeated."""

    async def cards(self) -> frozenset[str]: ...  # their MAC addresses; the first card is none of them

    async def plug_card(self, nic: TapNic) -> None:
        """Raises Unsupported where the machine has no place for any, and Conflict when it has for no further one."""
        ...

    async def unplug_card(self, mac: str) -> None: ...  # HostFailure when the guest does not let go of it


@runtime_checkable
class CanAttachVolumes(Protocol):
    """Optional: volumes that come, go, grow and get other limits while the machine runs or stands still.

    Everything may be repeated, also after a try that nobody saw end. The guest is not asked about anything.
    """

    async def attach_volume(self, volume: MachineVolume) -> None: ...
    async def detach_volume(self, volume_id: str) -> None: ...  # HostFailure when the guest does not let go of it
    async def grow_volume(self, volume_id: str, size_gib: int) -> None: ...  # Conflict when it would shrink
    async def limit_volume(self, volume: MachineVolume) -> None: ...


@runtime_checkable
class CanGrowDisk(Protocol):
    """Optional: a disk that grows while the machine runs. May be repeated. Raises Conflict when it would shrink."""

    async def grow_disk(self, size_gib: int) -> None: ...


@runtime_checkable
class CanLimitLive(Protocol):
    """Optional: limits that change while the machine runs."""

    async def set_limits(self, resources: Resources) -> None: ...


@dataclass(frozen=True)
class ProcessUse:
    """What a machine has used of the host's processors since it started, and what it holds of its memory now."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True)
class DiskCounts:
    """What the guest has read from its disks and written to them since its machine started, volumes included."""

    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0


@runtime_checkable
class CanMeasure(Protocol):
    """Optional: a machine that tells what it uses."""

    def process_use(self) -> ProcessUse | None: ...  # None once it has ended; reads one small file
    async def disk_counts(self) -> DiskCounts: ...  # asks the machine: a thousand times the work

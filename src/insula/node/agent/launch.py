"""Turning a record into a running machine: wire its network, start the driver, undo on failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.errors import Conflict, Unsupported
from insula.domain.instance import Firmware, MachineType, PortForward
from insula.node.agent import cards
from insula.node.agent.boost import boosted
from insula.node.agent.platforms import plate_of
from insula.node.agent.records import AttachedVolume, InstanceRecord, Records, SavedMemory
from insula.node.hypervisor.driver import (
    CanSave,
    DirectBoot,
    Driver,
    EndReason,
    GuestMemory,
    Machine,
    MachineSpec,
    MachineVolume,
    TapNic,
)
from insula.node.network.wiring import InstanceNetwork
from insula.node.storage.backend import BootableImage
from insula.node.storage.volumes import VolumeStore
from insula.protocol.node import Nic

_NOBODYS_MAC = "52:54:00:00:00:00"
_UEFI_MEMORY_MIB = 256  # OVMF crashes with 128


@dataclass(frozen=True)
class Frozen:
    """Memory of the caller's for a machine to write to, or, sealed and with `devices`, to go on from."""

    memory: GuestMemory
    devices: Path | None = None


class Launcher:
    """Starts and finds machines of records."""

    def __init__(self, records: Records, driver: Driver, network: InstanceNetwork, volumes: VolumeStore) -> None:
        self._records = records
        self._volumes = volumes
        self._driver = driver
        self._network = network

    async def start(self, record: InstanceRecord, frozen: Frozen | None = None) -> Machine:
        """Start the machine. Raises what storage, network and driver raise; nothing is left running then."""
        return await self.start_in(self._records.folder_of(record.spec.id), record, frozen)

    async def start_in(self, folder: Path, record: InstanceRecord, frozen: Frozen | None = None) -> Machine:
        """The same for a machine whose files are in `folder`."""
        if record.image is None or not (folder / "disk.qcow2").exists():
            raise Conflict(
                f"{record.spec.name} has no disk to start from",
                why=f"There is no {folder / 'disk.qcow2'}",
                todo=f"Rebuild it: `insula rebuild {record.spec.name}`",
                code="no-disk",
            )
        accelerator = await self._driver.accelerator()
        _check_memory(record, record.image)
        _check_saved(record, accelerator)
        # A guest that was cut off in its memory has a card there, and nothing is plugged into it.
        has_card = record.is_cut and (frozen is not None or record.saved is not None)
        nics = (Nic(_NOBODYS_MAC),) if has_card else () if record.is_cut else record.spec.nics[:1]
        with await self._network.plug(folder, nics, record.uid) as wiring:
            try:
                nic = TapNic(nics[0].mac, wiring.taps[0]) if wiring.taps else None
                spec = _machine_spec(record, record.image, folder, accelerator, nic)
                spec = replace(spec, volumes=await asyncio.to_thread(self._volumes_of, record))
                if frozen is not None:
                    spec = replace(spec, saved=frozen.devices, memory=frozen.memory)
                machine = await self._driver.start(spec)
                if not record.is_cut:
                    await self._add_cards(machine, record)
                return machine
            except BaseException:
                await self._network.unplug(folder)
                raise

    async def _add_cards(self, machine: Machine, record: InstanceRecord) -> None:
        try:
            await cards.match(machine, record.spec, self._network)
        except BaseException:
            await machine.kill()
            raise

    def _volumes_of(self, record: InstanceRecord) -> tuple[MachineVolume, ...]:
        return tuple(machine_volume(self._volumes, attached) for attached in record.volumes)

    async def save(self, record: InstanceRecord, machine: Machine) -> SavedMemory:
        """Write the memory of a machine that stands still to its folder. Raises what the driver raises."""
        if not isinstance(machine, CanSave):
            raise Unsupported(f"The driver {self._driver.name} cannot save a machine's memory", code="no-save")
        await machine.save(memory_file(self._records.folder_of(record.spec.id)))
        return SavedMemory(await self._driver.accelerator())

    async def adopt_in(self, spec_id: str, folder: Path) -> Machine | None:
        """The machine that runs already with its files in `folder`, or None."""
        return await self._driver.adopt(spec_id, folder)

    async def adopt(self, record: InstanceRecord) -> Machine | None:
        """The machine that runs already, or None."""
        if record.image is None:
            return None
        return await self._driver.adopt(record.spec.id, self._records.folder_of(record.spec.id))

    async def last_end(self, record: InstanceRecord) -> EndReason | None:
        """How its last machine ended, when no service was there to see it."""
        return await self._driver.last_end(self._records.folder_of(record.spec.id))

    def forwards(self, record: InstanceRecord) -> tuple[PortForward, ...]:
        """The host's ports that lead to it."""
        return self._network.forwards(record.spec.nics)

    async def put_down(self, record: InstanceRecord) -> None:
        """Take away what was made for the machine's network alone, after it has ended. May be repeated."""
        await self.put_down_in(self._records.folder_of(record.spec.id))

    async def put_down_in(self, folder: Path) -> None:
        """The same for a machine whose files are in `folder`."""
        await self._network.unplug(folder)


def _check_memory(record: InstanceRecord, image: BootableImage) -> None:
    memory_mib = record.spec.resources.memory_mib
    if firmware_of(record.spec.firmware, image) is Firmware.UEFI and memory_mib < _UEFI_MEMORY_MIB:
        raise Unsupported(
            f"{record.spec.name} cannot start with UEFI",
            why=f"UEFI firmware needs {_UEFI_MEMORY_MIB} MiB of memory, and its plan has {memory_mib} MiB",
            todo="Choose a larger plan, or an image that boots with BIOS",
            code="memory-below-firmware",
        )


def machine_volume(store: VolumeStore, attached: AttachedVolume) -> MachineVolume:
    """What a machine needs to know of a volume. Blocking: reads a small file. Raises what the store raises."""
    spec = store.load(attached.id)
    return MachineVolume(spec.id, spec.name, store.disk_of(spec.id), attached.slot, spec.disk_iops, spec.disk_mbps)


def memory_file(folder: Path) -> Path:
    """Where the memory of a hibernated instance is."""
    return folder / "memory"


def _check_saved(record: InstanceRecord, accelerator: str) -> None:
    if record.saved is not None and record.saved.accelerator != accelerator:
        raise Unsupported(
            f"{record.spec.name} cannot go on from its saved memory",
            why=f"It was saved under {record.saved.accelerator}, and this host now runs machines under {accelerator}",
            todo=f"Boot it from its disk, which loses what was in memory: `insula start {record.spec.name} --cold`",
            code="saved-memory-unusable",
        )


def _machine_spec(
    record: InstanceRecord, image: BootableImage, folder: Path, accelerator: str, nic: TapNic | None
) -> MachineSpec:
    spec = record.spec
    firmware = firmware_of(spec.firmware, image)
    kernel = image.boot_for(firmware, accelerator)
    seed = folder / "seed.iso"
    return MachineSpec(
        id=spec.id,
        name=spec.name,
        folder=folder,
        resources=boosted(spec.resources),
        machine_type=machine_type_of(spec.machine_type, image),
        firmware=firmware,
        disk=folder / "disk.qcow2",
        read_only=image.disks,
        seed=seed if seed.exists() else None,
        direct_boot=DirectBoot(kernel.kernel, kernel.initrd, kernel.command_line) if kernel is not None else None,
        nic=nic,
        uid=record.uid,
        saved=memory_file(folder) if record.saved is not None else None,
        plate=plate_of(spec, image),
    )


def machine_type_of(wish: MachineType, image: BootableImage) -> MachineType:
    """The wish, or what the image prefers; never AUTO."""
    wanted = image.image.machine_type if wish is MachineType.AUTO else wish
    return MachineType.Q35 if wanted is MachineType.AUTO else wanted


def firmware_of(wish: Firmware, image: BootableImage) -> Firmware:
    """The wish, or what the image prefers; never AUTO."""
    wanted = image.image.firmware if wish is Firmware.AUTO else wish
    return Firmware.BIOS if wanted is Firmware.AUTO else wanted


def console_size(folder: Path) -> int:
    """How many bytes the console has shown in this life of the machine."""
    try:
        return (folder / "console.log").stat().st_size
    except FileNotFoundError:
        return 0


def read_console(folder: Path, max_bytes: int) -> bytes:
    """The last `max_bytes` that the console showed, from the lives before as well."""
    shown = b""
    for name in ("console.log", "console.log.previous"):
        missing = max_bytes - len(shown)
        if missing <= 0:
            break
        try:
            with (folder / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - missing))
                shown = file.read(missing) + shown
        except FileNotFoundError:
            continue
    return shown

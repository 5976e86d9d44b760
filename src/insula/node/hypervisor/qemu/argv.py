"""From a machine's specification to QEMU's argument list: pure, so that every choice can be tested and read in a row.

File names are relative to the machine's folder, which is QEMU's working folder, or absolute. Options that hold names
are JSON, where no comma or quote in a path can add an option. Nothing secret is in here: seeds, keys and user-data are
files. Source: qemu(1), QEMU 7.2 System Emulation manual, QMP Reference (BlockdevOptions, NetdevOptions).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insula.base.errors import Unsupported
from insula.domain.instance import Firmware, MachineType
from insula.node.hypervisor.driver import MachineSpec, Plate, StreamNic, TapNic
from insula.node.hypervisor.qemu.blocks import (
    CONTROLLER,
    disk_node,
    throttle_group,
    throttle_limits,
    throttled_node,
    volume_device,
    volume_group,
    volume_nodes,
)
from insula.node.hypervisor.qemu.cards import places
from insula.node.hypervisor.qemu.firmware import UefiFirmware

PROGRAM = "qemu-system-x86_64"
NVRAM = "nvram.qcow2"
THROTTLE_GROUP = "disk-limits"
NETWORK = "net0"
DISK_THROTTLED = "disk-throttled"
DISK = "disk"  # the node of the disk's file; layers over it are called disk-NAME
# QEMU's own choice is up to 1 GiB of translated code, which the machine's memory limit would have to allow for.
TCG_CODE_CACHE_MIB = 128
# Names machines by their instance: the same id always gives the same UUID.
_UUID_NAMESPACE = uuid.UUID("5c2d8f52-9c11-4d0c-9f0e-6d1f2b7f4a11")
UUID_PREFIX_CHARS = 8  # that a plate may choose


@dataclass(frozen=True)
class Wires:
    """Descriptors that QEMU inherits: listening sockets, and a tap device, saved state and memory if there are such."""

    qmp: int
    agent: int
    console: int
    tap: int | None = None
    saved: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Host:
    """What of the host shapes the arguments. `accelerator` is kvm or tcg; `tsc_khz` is 0 when it is unknown."""

    accelerator: str
    uefi: UefiFirmware | None = None
    tsc_khz: int = 0


def machine_uuid(spec_id: str) -> str:
    return str(uuid.uuid5(_UUID_NAMESPACE, spec_id))


def plate_uuid(spec_id: str, plate: Plate) -> str:
    """The UUID that the machine says it has."""
    return plate.uuid_prefix + machine_uuid(spec_id)[len(plate.uuid_prefix) :]


def arguments(spec: MachineSpec, host: Host, wires: Wires) -> list[str]:
    """QEMU's whole argument list, program first.

    Raises :class:`Unsupported` for a combination that QEMU does not have.
    """
    return [
        PROGRAM,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-name", f"guest={_escaped(spec.name)},debug-threads=on"),
        *("-uuid", machine_uuid(spec.id)),
        *_plate(spec),
        *_board(spec, host),
        *_memory(spec, wires),
        *_control(wires),
        *_firmware(spec, host),
        *_disk(spec, host),
        *_network(spec, wires),
        *_further_devices(spec),
        *_volumes(spec, host),
        *_places_for_cards(spec),
        *_kernel(spec, host),
        *_saved(spec, wires),
    ]


def _board(spec: MachineSpec, host: Host) -> Iterable[str]:
    memory = (f"memory-backend={_memory_name(spec)}",) if spec.memory is not None else ()
    yield from ("-machine", ",".join((*_machine_options(spec, host), *memory)))
    if host.accelerator == "kvm":
        yield from ("-accel", "kvm", "-cpu", "host")
    else:
        yield from ("-accel", f"tcg,thread=multi,tb-size={TCG_CODE_CACHE_MIB}", "-cpu", "max")
    yield from ("-smp", str(spec.resources.vcpus), "-m", f"{spec.resources.memory_mib}M")
    yield from ("-rtc", "base=utc,clock=host", "-boot", "strict=on")
    # A panicked guest ends its machine, so that the restart policy can help it; a reset stays inside the machine.
    yield from ("-action", "panic=shutdown,reboot=reset,shutdown=poweroff")
    # Writes the cause of each end to standard error, so that it is known even when no service was there to hear
    # QMP's SHUTDOWN event.
    yield from ("-trace", "enable=qemu_system_shutdown_request")


def _machine_options(spec: MachineSpec, host: Host) -> Iterable[str]:
    if spec.machine_type is MachineType.MICROVM:
        if spec.firmware is Firmware.UEFI:
            raise Unsupported(
                f"{spec.name} cannot have a microvm machine with UEFI",
                why="Distributions ship no UEFI firmware for QEMU's microvm",
                todo="Choose the machine type q35, or BIOS",
                code="no-microvm-uefi",
            )
        # ACPI gives it a power button and describes its devices, so that the kernel's command line need not.
        yield from ("microvm", "acpi=on", "rtc=on", "isa-serial=on", "auto-kernel-cmdline=off")
        return
    # The emulated HPET and VMware port cost exits and guests do better without them.
    yield from ("q35", "vmport=off", "hpet=off", "usb=off")
    if spec.firmware is Firmware.UEFI:
        if host.uefi is None:
            raise Unsupported("This host has no UEFI firmware", todo="Install ovmf", code="no-uefi-firmware")
        yield from ("pflash0=firmware", "pflash1=nvram")


def _plate(spec: MachineSpec) -> Iterable[str]:
    """What stands on the machine's and its main board's type plates."""
    if (plate := spec.plate) is None:
        return
    if spec.machine_type is MachineType.MICROVM:
        raise Unsupported(
            f"{spec.name} cannot say that it is a machine of {plate.manufacturer}",
            why="A microvm has no SMBIOS tables",
            todo="Choose the machine type q35, or the platform nocloud",
            code="no-microvm-platform",
        )
    uuid_text = plate_uuid(spec.id, plate)
    texts = {"manufacturer": plate.manufacturer, "product": plate.product, "serial": plate.serial or uuid_text}
    if plate.uuid_prefix:
        texts["uuid"] = uuid_text  # overrules -uuid, by which the process is found
    yield from ("-smbios", "type=1," + ",".join(f"{name}={_escaped(text)}" for name, text in texts.items() if text))
    if plate.board_serial:
        yield from ("-smbios", f"type=2,serial={_escaped(plate.board_serial)}")


def _control(wires: Wires) -> Iterable[str]:
    yield from ("-chardev", f"socket,id=qmp,fd={wires.qmp},server=on,wait=off")
    yield from ("-mon", "chardev=qmp,mode=control")
    yield from (
        "-chardev",
        f"socket,id=console,fd={wires.console},server=on,wait=off,logfile=console.log,logappend=on",
    )
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=agent,fd={wires.agent},server=on,wait=off")


def _firmware(spec: MachineSpec, host: Host) -> Iterable[str]:
    """The two flash chips of a UEFI machine: the firmware's code, and the guest's own variables."""
    if spec.firmware is Firmware.UEFI and host.uefi is not None:
        nvram = {"driver": "qcow2", "node-name": "nvram", "file": {"driver": "file", "filename": NVRAM}}
        yield from ("-blockdev", _json(_raw_file("firmware", str(host.uefi.code))), "-blockdev", _json(nvram))


def _disk(spec: MachineSpec, host: Host) -> Iterable[str]:
    in_thread = _has_io_threads(spec, host)
    if in_thread:
        yield from ("-object", _json({"qom-type": "iothread", "id": "disk-io"}))
    limits = throttle_limits(spec.resources.disk_iops, spec.resources.disk_mbps)
    yield from ("-object", _json(throttle_group(THROTTLE_GROUP, limits)))
    yield from ("-blockdev", _json(disk_node(DISK, {"filename": _name(spec, spec.disk)})))
    yield from ("-blockdev", _json(throttled_node(DISK_THROTTLED, THROTTLE_GROUP, DISK)))
    device: dict[str, Any] = {"driver": _device(spec, "virtio-blk"), "drive": DISK_THROTTLED, "serial": "disk"}
    if in_thread:
        device["iothread"] = "disk-io"
    if spec.direct_boot is None:
        device["bootindex"] = 1
    yield from ("-device", _json(device))
    if spec.seed is not None:
        yield from ("-blockdev", _json(_raw_file("seed", _name(spec, spec.seed))))
        yield from ("-device", _json({"driver": _device(spec, "virtio-blk"), "drive": "seed", "serial": "seed"}))


def _has_io_threads(spec: MachineSpec, host: Host) -> bool:
    """Disk I/O in its own thread keeps the monitor quick. Emulated microvm lacks the event descriptors it needs."""
    return spec.machine_type is not MachineType.MICROVM or host.accelerator == "kvm"


def _volumes(spec: MachineSpec, host: Host) -> Iterable[str]:
    """A controller on which volumes come and go, and those that are there from the start.

    It comes after all others, so that machines which were saved without one find those where they were.
    """
    controller: dict[str, Any] = {"driver": _device(spec, "virtio-scsi"), "id": CONTROLLER, "num_queues": 1}
    if _has_io_threads(spec, host):
        yield from ("-object", _json({"qom-type": "iothread", "id": "volume-io"}))
        controller["iothread"] = "volume-io"
    yield from ("-device", _json(controller))
    for volume in spec.volumes:
        yield from ("-object", _json(volume_group(volume)))
        for node in volume_nodes(volume, {"filename": _name(spec, volume.file)}):
            yield from ("-blockdev", _json(node))
        yield from ("-device", _json(volume_device(volume)))


def _places_for_cards(spec: MachineSpec) -> Iterable[str]:
    if spec.machine_type is not MachineType.MICROVM:
        for place in places():
            yield from ("-device", _json(place))


def _network(spec: MachineSpec, wires: Wires) -> Iterable[str]:
    match spec.nic:
        case None:
            return
        case TapNic():
            # A tap that was opened elsewhere: its queue and its offloads are what the opener chose.
            yield from ("-netdev", f"tap,id={NETWORK},fd={wires.tap}")
        case StreamNic():
            address = {"type": "unix", "path": _name(spec, spec.nic.socket)}
            yield from ("-netdev", _json({"type": "stream", "id": NETWORK, "server": False, "addr": address}))
    card: dict[str, Any] = {"driver": _device(spec, "virtio-net"), "netdev": NETWORK, "mac": spec.nic.mac}
    if spec.machine_type is not MachineType.MICROVM:
        card["romfile"] = ""  # no network boot: its option ROM would cost each start some time
    yield from ("-device", _json(card))


def _further_devices(spec: MachineSpec) -> Iterable[str]:
    yield from ("-device", _json({"driver": _device(spec, "virtio-serial"), "id": "ports"}))
    agent = {"driver": "virtserialport", "bus": "ports.0", "chardev": "agent", "name": "org.qemu.guest_agent.0"}
    yield from ("-device", _json(agent))
    yield from ("-object", _json({"qom-type": "rng-builtin", "id": "random"}))
    yield from ("-device", _json({"driver": _device(spec, "virtio-rng"), "rng": "random"}))
    # Memory that the guest frees goes back to the host, and a guest in need gets the balloon's pages back.
    balloon = {"driver": _device(spec, "virtio-balloon"), "free-page-reporting": True, "deflate-on-oom": True}
    yield from ("-device", _json(balloon))
    if spec.machine_type is not MachineType.MICROVM:
        yield from ("-device", "vmgenid,guid=auto", "-device", "pvpanic")


def _kernel(spec: MachineSpec, host: Host) -> Iterable[str]:
    boot = spec.direct_boot
    if boot is None:
        return
    command_line = boot.command_line
    if host.accelerator == "tcg":
        # The kernel counts ticks to see whether the timer is wired up, panics when it sees too few, and on a busy host
        # an emulated one does. Under KVM the kernel skips this by itself.
        command_line += " no_timer_check"
    if spec.machine_type is MachineType.MICROVM and host.accelerator == "tcg" and host.tsc_khz:
        # microvm has no timer besides the PIT to calibrate the counter by, and on a busy host an emulated guest fails
        # to, and then hangs. Under emulation the guest's counter is the host's.
        command_line += f" tsc_early_khz={host.tsc_khz}"
    yield from ("-kernel", str(boot.kernel), "-append", command_line)
    if boot.initrd is not None:
        yield from ("-initrd", str(boot.initrd))


def _memory(spec: MachineSpec, wires: Wires) -> Iterable[str]:
    if spec.memory is not None:
        # A private mapping copies what the guest changes; the sealed memory itself cannot be written through it.
        backend = {
            "qom-type": "memory-backend-file",
            "id": _memory_name(spec),
            "x-use-canonical-path-for-ramblock-id": False,
            "size": spec.resources.memory_mib << 20,
            "mem-path": f"/proc/self/fd/{wires.memory}",
            "share": not spec.memory.is_sealed,
        }
        yield from ("-object", _json(backend))


def _memory_name(spec: MachineSpec) -> str:
    # What QEMU calls the memory that it makes itself: a machine that is saved whole can so go on without ours.
    return "microvm.ram" if spec.machine_type is MachineType.MICROVM else "pc.ram"


def _saved(spec: MachineSpec, wires: Wires) -> Iterable[str]:
    if spec.saved is None:
        return
    if spec.memory is not None:
        # That the file holds no memory must be said before QEMU reads it, and can only be said over QMP.
        yield from ("-incoming", "defer", "-S")
    else:
        # QEMU loads it by itself, also when the service dies meanwhile, and stands still until it is told to go on.
        yield from ("-incoming", f"fd:{wires.saved}", "-S")


def _device(spec: MachineSpec, kind: str) -> str:
    """A virtio device's name on this board: microvm has no PCI bus."""
    return f"{kind}-device" if spec.machine_type is MachineType.MICROVM else f"{kind}-pci"


def _raw_file(node: str, filename: str) -> dict[str, Any]:
    # The format is stated, so that a file whose first bytes look like another format is never taken for it.
    inner = {"driver": "file", "filename": filename, "read-only": True}
    return {"driver": "raw", "node-name": node, "read-only": True, "file": inner}


def _name(spec: MachineSpec, path: Path) -> str:
    # Relative below the folder, where QEMU starts: a Unix socket's path has room for 107 bytes only.
    return str(path.relative_to(spec.folder)) if path.is_relative_to(spec.folder) else str(path)


def _escaped(text: str) -> str:
    return text.replace(",", ",,")


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import Unsupported
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.hypervisor.driver import DirectBoot, MachineSpec, MachineVolume, Plate, StreamNic, TapNic
from insula.node.hypervisor.qemu.argv import Host, Wires, arguments, machine_uuid
from insula.node.hypervisor.qemu.blocks import volume_names
from insula.node.hypervisor.qemu.firmware import UefiFirmware

FOLDER = Path("/srv/insula/node/instances/ins_1")
UEFI = UefiFirmware(Path("/usr/share/OVMF/CODE.fd"), Path("/usr/share/OVMF/VARS.fd"))
TCG = Host("tcg", UEFI)
WIRES = Wires(qmp=5, agent=6, console=7, tap=8)


def _spec(**changes: Any) -> MachineSpec:
    spec = MachineSpec(
        id="ins_1",
        name="web1",
        folder=FOLDER,
        resources=Resources(vcpus=2, memory_mib=512, disk_gib=5, cpu_percent=50, disk_iops=2000, disk_mbps=50),
        machine_type=MachineType.Q35,
        firmware=Firmware.BIOS,
        disk=FOLDER / "disk.qcow2",
    )
    return replace(spec, **changes)


def _values(argv: list[str], option: str) -> list[str]:
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def _json_values(argv: list[str], option: str) -> list[dict[str, Any]]:
    return [json.loads(value) for value in _values(argv, option) if value.startswith("{")]


def _device(argv: list[str], driver: str) -> dict[str, Any]:
    (found,) = [device for device in _json_values(argv, "-device") if device["driver"] == driver]
    return found


def test_nothing_comes_from_defaults_and_every_sandbox_rule_is_on() -> None:
    argv = arguments(_spec(), TCG, WIRES)
    assert {"-nodefaults", "-no-user-config"} <= set(argv)
    assert _values(argv, "-display") == ["none"]
    assert _values(argv, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert _values(argv, "-uuid") == [machine_uuid("ins_1")]
    assert machine_uuid("ins_1") != machine_uuid("ins_2")


def test_sockets_are_inherited_and_the_console_is_logged() -> None:
    chardevs = _values(arguments(_spec(), TCG, WIRES), "-chardev")
    assert chardevs == [
        "socket,id=qmp,fd=5,server=on,wait=off",
        "socket,id=console,fd=7,server=on,wait=off,logfile=console.log,logappend=on",
        "socket,id=agent,fd=6,server=on,wait=off",
    ]


@pytest.mark.parametrize(
    ("accelerator", "expected"),
    [("kvm", ["kvm", "host"]), ("tcg", ["tcg,thread=multi,tb-size=128", "max"])],
)
def test_the_accelerator_chooses_the_cpu(accelerator: str, expected: list[str]) -> None:
    argv = arguments(_spec(), Host(accelerator), WIRES)
    assert _values(argv, "-accel") + _values(argv, "-cpu") == expected


def test_the_disk_is_explicit_thin_and_throttled() -> None:
    argv = arguments(_spec(), TCG, WIRES)
    disk, throttle = _json_values(argv, "-blockdev")
    assert (disk["driver"], disk["file"]["filename"], disk["discard"]) == ("qcow2", "disk.qcow2", "unmap")
    assert disk["detect-zeroes"] == "unmap"
    assert throttle["file"] == "disk"
    (group,) = [o for o in _json_values(argv, "-object") if o["qom-type"] == "throttle-group"]
    assert group["limits"] == {"iops-total": 2000, "bps-total": 50_000_000}
    assert _device(argv, "virtio-blk-pci")["bootindex"] == 1


def test_volumes_are_disks_on_a_controller_of_their_own() -> None:
    volume = MachineVolume("vol_01hq", "data", Path("/srv/volumes/vol_01hq/volume.qcow2"), 3, disk_iops=10)
    argv = arguments(_spec(volumes=(volume,)), TCG, WIRES)
    assert _device(argv, "virtio-scsi-pci")["id"] == "volumes"
    disk = _device(argv, "scsi-hd")
    assert (disk["bus"], disk["scsi-id"], disk["lun"], disk["serial"]) == ("volumes.0", 3, 0, "vol_01hq")
    assert (disk["vendor"], disk["product"], disk["device_id"]) == ("Insula", "Volume", "data")
    nodes = {node["node-name"]: node for node in _json_values(argv, "-blockdev")}
    throttled = nodes[disk["drive"]]
    node = nodes[throttled["file"]]
    assert (node["driver"], node["file"]["filename"], node["discard"]) == ("qcow2", str(volume.file), "unmap")
    groups = {group["id"]: group for group in _json_values(argv, "-object") if group["qom-type"] == "throttle-group"}
    assert groups[throttled["throttle-group"]]["limits"] == {"iops-total": 10, "bps-total": 0}


def test_every_machine_has_the_controller_behind_all_else() -> None:
    for spec, driver in ((_spec(), "virtio-scsi-pci"), (_spec(machine_type=MachineType.MICROVM), "virtio-scsi-device")):
        devices = _json_values(arguments(spec, TCG, WIRES), "-device")
        while devices[-1]["driver"] == "pcie-root-port":  # where further network cards are plugged in
            devices.pop()
        assert devices[-1]["driver"] == driver
        assert ("iothread" in devices[-1]) is (driver == "virtio-scsi-pci")


def test_names_of_nodes_fit() -> None:
    names = volume_names(new_id(Kind.VOLUME))
    assert max(len(names.node), len(names.throttled)) <= 31
    assert len(set(vars(names).values())) == 4


def test_a_seed_is_read_only_and_never_probed() -> None:
    argv = arguments(_spec(seed=FOLDER / "seed.iso"), TCG, WIRES)
    (seed,) = [node for node in _json_values(argv, "-blockdev") if node["node-name"] == "seed"]
    assert (seed["driver"], seed["read-only"], seed["file"]["read-only"]) == ("raw", True, True)
    assert seed["file"]["filename"] == "seed.iso"


def test_names_cannot_add_options() -> None:
    folder = Path('/srv/a,b"c')
    spec = _spec(folder=folder, disk=Path('/other/x,readonly=off".qcow2'), name="web,process=evil")
    argv = arguments(spec, TCG, WIRES)
    assert _json_values(argv, "-blockdev")[0]["file"]["filename"] == '/other/x,readonly=off".qcow2'
    assert _values(argv, "-name") == ["guest=web,,process=evil,debug-threads=on"]


def test_nics_are_a_descriptor_or_a_socket() -> None:
    mac = "52:54:00:00:00:01"
    tap = arguments(_spec(nic=TapNic(mac, 3)), TCG, WIRES)
    assert _values(tap, "-netdev") == ["tap,id=net0,fd=8"]
    assert _device(tap, "virtio-net-pci") == {"driver": "virtio-net-pci", "netdev": "net0", "mac": mac, "romfile": ""}
    stream = arguments(_spec(nic=StreamNic(mac, FOLDER / "net.sock")), TCG, WIRES)
    (netdev,) = _json_values(stream, "-netdev")
    assert (netdev["type"], netdev["addr"]) == ("stream", {"type": "unix", "path": "net.sock"})
    assert _values(arguments(_spec(), TCG, WIRES), "-netdev") == []


def test_uefi_has_its_own_variables_and_read_only_code() -> None:
    argv = arguments(_spec(firmware=Firmware.UEFI), TCG, WIRES)
    assert "pflash0=firmware,pflash1=nvram" in _values(argv, "-machine")[0]
    nodes = {node["node-name"]: node for node in _json_values(argv, "-blockdev")}
    assert nodes["firmware"]["read-only"] is True
    assert (nodes["nvram"]["driver"], nodes["nvram"]["file"]["filename"]) == ("qcow2", "nvram.qcow2")


def test_microvm_has_no_pci_bus_and_no_uefi() -> None:
    argv = arguments(_spec(machine_type=MachineType.MICROVM, nic=TapNic("52:54:00:00:00:01", 3)), TCG, WIRES)
    assert _values(argv, "-machine")[0].startswith("microvm,acpi=on")
    assert not [word for word in argv if "-pci" in word or "vmgenid" in word]
    assert "romfile" not in _device(argv, "virtio-net-device")
    with pytest.raises(Unsupported, match="microvm"):
        arguments(_spec(machine_type=MachineType.MICROVM, firmware=Firmware.UEFI), TCG, WIRES)


def test_a_kernel_is_loaded_directly() -> None:
    boot = DirectBoot(Path("/i/kernel"), Path("/i/initrd"), "console=ttyS0 root=/dev/vda")
    argv = arguments(_spec(direct_boot=boot), TCG, WIRES)
    assert (_values(argv, "-kernel"), _values(argv, "-initrd")) == (["/i/kernel"], ["/i/initrd"])
    assert _values(argv, "-append") == ["console=ttyS0 root=/dev/vda no_timer_check"]
    under_kvm = arguments(_spec(direct_boot=boot), replace(TCG, accelerator="kvm"), WIRES)
    assert _values(under_kvm, "-append") == ["console=ttyS0 root=/dev/vda"]
    assert "bootindex" not in _device(argv, "virtio-blk-pci")
    assert "-initrd" not in arguments(_spec(direct_boot=replace(boot, initrd=None)), TCG, WIRES)


def test_an_emulated_microvm_is_told_its_counter_and_nothing_else_is() -> None:
    boot = DirectBoot(Path("/i/kernel"), None, "console=ttyS0")
    microvm = _spec(machine_type=MachineType.MICROVM, direct_boot=boot)
    known = Host("tcg", tsc_khz=2_596_148)
    assert _values(arguments(microvm, known, WIRES), "-append") == [
        "console=ttyS0 no_timer_check tsc_early_khz=2596148"
    ]
    for spec, host in ((microvm, TCG), (microvm, replace(known, accelerator="kvm")), (_spec(direct_boot=boot), known)):
        (command_line,) = _values(arguments(spec, host, WIRES), "-append")
        assert "tsc_early_khz" not in command_line


def test_a_machine_says_nothing_of_itself_unless_it_has_a_plate() -> None:
    assert _values(arguments(_spec(), TCG, WIRES), "-smbios") == []


def test_a_plate_is_what_the_guest_reads() -> None:
    plate = Plate("Maker, Inc.", "4711", "Droplet", board_serial="v6=0")
    argv = arguments(_spec(plate=plate), TCG, WIRES)
    assert _values(argv, "-smbios") == [
        "type=1,manufacturer=Maker,, Inc.,product=Droplet,serial=4711",
        "type=2,serial=v6=0",
    ]
    assert _values(argv, "-uuid") == [machine_uuid("ins_1")]


def test_a_uuid_of_another_beginning_is_the_serial_number_too_and_the_process_is_still_found() -> None:
    argv = arguments(_spec(plate=Plate("Amazon EC2", uuid_prefix="ec2")), TCG, WIRES)
    shown = f"ec2{machine_uuid('ins_1')[3:]}"
    assert _values(argv, "-smbios") == [f"type=1,manufacturer=Amazon EC2,serial={shown},uuid={shown}"]
    assert argv.index("-smbios") > argv.index("-uuid"), "the later one counts"
    assert _values(argv, "-uuid") == [machine_uuid("ins_1")]


def test_a_microvm_has_no_place_for_a_plate() -> None:
    with pytest.raises(Unsupported, match="cannot say that it is a machine of Akamai"):
        arguments(_spec(plate=Plate("Akamai"), machine_type=MachineType.MICROVM), TCG, WIRES)

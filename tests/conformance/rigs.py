"""What the conformance suite needs of a driver beside the driver itself: machines to start, and ways to hurt them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.hypervisor.driver import DirectBoot, Driver, Machine, MachineSpec, MachineStatus, StreamNic
from insula.node.hypervisor.fake import state
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.hypervisor.qemu.driver import QemuDriver
from insula.node.hypervisor.qemu.launch import is_locked
from insula.node.runtime.processes import start_ticks
from insula.node.runtime.uids import UidRange
from tests.small_guest import booted, console, small_guest


class Rig(Protocol):
    """`driver` makes a new driver object each time, as a new service would."""

    boot_s: float

    def driver(self) -> Driver: ...
    def failing_driver(self) -> Driver: ...
    def spec(self, name: str = "web1") -> MachineSpec: ...
    async def booted(self, spec: MachineSpec, times: int = 1) -> None: ...
    async def shut_down_from_inside(self, spec: MachineSpec) -> None: ...
    async def has_link(self, spec: MachineSpec) -> bool: ...
    async def work(self, spec: MachineSpec) -> None: ...  # the guest keeps a processor busy, and reads from its disk
    async def volume_sizes(self, spec: MachineSpec) -> dict[str, int]: ...
    def volume(self, name: str) -> Path: ...
    def layer(self, base: Path, target: Path) -> None: ...
    def crash(self, spec: MachineSpec, machine: Machine) -> None: ...
    def is_running(self, spec: MachineSpec, machine: Machine | None) -> bool: ...
    def close(self) -> None: ...


class FakeRig:
    boot_s = 5.0

    def __init__(self, home: Path) -> None:
        self._home = home

    def driver(self) -> Driver:
        return FakeDriver()

    def failing_driver(self) -> Driver:
        return FakeDriver(faults=Faults(fail_start="the disk is damaged"))

    def spec(self, name: str = "web1") -> MachineSpec:
        folder = self._home / name
        folder.mkdir()
        disk = folder / "disk.qcow2"
        disk.touch()
        resources = Resources(vcpus=1, memory_mib=128, disk_gib=1, cpu_percent=100)
        return MachineSpec(f"ins_{name}", name, folder, resources, MachineType.Q35, Firmware.BIOS, disk)

    async def booted(self, spec: MachineSpec, times: int = 1) -> None:
        await booted(spec.folder, self.boot_s, times)

    async def shut_down_from_inside(self, spec: MachineSpec) -> None:
        _, writer = await asyncio.open_unix_connection(spec.folder / "agent.sock")
        writer.write(b'{"execute": "guest-shutdown"}\n')
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def has_link(self, spec: MachineSpec) -> bool:
        found = state.load(spec.folder)
        return found is not None and found.link_up

    async def work(self, spec: MachineSpec) -> None:
        await asyncio.sleep(0.3)  # it always does

    async def volume_sizes(self, spec: MachineSpec) -> dict[str, int]:
        found = state.load(spec.folder)
        assert found is not None
        return {name: _gib(Path(held["file"])) for name, held in found.volumes.items()}

    def volume(self, name: str) -> Path:
        disk = self._home / f"{name}.qcow2"
        disk.write_text('{"size_gib": 1}')
        return disk

    def layer(self, base: Path, target: Path) -> None:
        target.touch()

    def crash(self, spec: MachineSpec, machine: Machine) -> None:
        state.crash(spec.folder)

    def is_running(self, spec: MachineSpec, machine: Machine | None) -> bool:
        found = state.load(spec.folder)
        return found is not None and found.status is not MachineStatus.ENDED

    def close(self) -> None:
        shutil.rmtree(self._home)


def _gib(disk: Path) -> int:
    return int(json.loads(disk.read_bytes())["size_gib"])


class QemuRig:
    """As root every machine has an own uid, as in the service."""

    boot_s = 90.0

    def __init__(self, home: Path) -> None:
        self._home = home
        self._uids = UidRange() if UidRange.is_usable() else None
        self._specs: list[MachineSpec] = []
        self._sockets: list[socket.socket] = []

    def driver(self) -> Driver:
        return QemuDriver(self._home, accelerator="tcg")

    def failing_driver(self) -> Driver:
        """The start fails because every disk is made unreadable: see `spec`."""
        for spec in self._specs:
            spec.disk.write_bytes(b"no qcow2 at all" * 100)
        return self.driver()

    def spec(self, name: str = "web1") -> MachineSpec:
        folder = self._home / name
        folder.mkdir(mode=0o711)
        disk = folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True, timeout=30)
        guest = small_guest()
        spec = MachineSpec(
            id=f"ins_{name}_{os.getpid()}",
            name=name,
            folder=folder,
            resources=Resources(vcpus=1, memory_mib=128, disk_gib=1, cpu_percent=100),
            machine_type=MachineType.Q35,
            firmware=Firmware.BIOS,
            disk=disk,
            direct_boot=DirectBoot(guest.kernel, guest.initrd, guest.command_line),
            nic=StreamNic("52:54:00:00:00:01", self._cable(folder)),
            uid=self._uids.claim(folder) if self._uids else None,
        )
        self._specs.append(spec)
        return spec

    async def booted(self, spec: MachineSpec, times: int = 1) -> None:
        await booted(spec.folder, self.boot_s, times)

    async def shut_down_from_inside(self, spec: MachineSpec) -> None:
        async with console(spec.folder) as typed:
            await typed.type("poweroff -f")
            await typed.until_closed(30)  # QEMU drops what was typed when the typist leaves at once

    async def has_link(self, spec: MachineSpec) -> bool:
        async with console(spec.folder) as typed:
            return (await typed.run("ip link set eth0 up; cat /sys/class/net/eth0/carrier")).endswith("1")

    async def work(self, spec: MachineSpec) -> None:
        async with console(spec.folder) as typed:
            await typed.run("dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null; md5sum /bin/busybox")

    async def volume_sizes(self, spec: MachineSpec) -> dict[str, int]:
        """What the guest itself sees, by serial number, in GiB."""
        script = (
            "for d in /sys/block/sd*; do [ -e $d ] && "
            "echo $(tr -cd 'a-z0-9_' < $d/device/vpd_pg80) $(cat $d/size); done; true"
        )
        async with console(spec.folder) as typed:
            shown = await typed.run(script)
        pairs = [line.split() for line in shown.splitlines() if line.startswith("vol_")]
        return {name: int(sectors) >> 21 for name, sectors in pairs}

    def volume(self, name: str) -> Path:
        disk = self._home / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True, timeout=30)
        disk.chmod(0o666)
        return disk

    def layer(self, base: Path, target: Path) -> None:
        command = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(target), "1G"]
        subprocess.run(command, check=True, timeout=30)

    def crash(self, spec: MachineSpec, machine: Machine) -> None:
        os.kill(machine.pid, signal.SIGKILL)

    def is_running(self, spec: MachineSpec, machine: Machine | None) -> bool:
        alive = machine is not None and start_ticks(machine.pid) is not None
        return alive or is_locked(spec.folder)

    def _cable(self, folder: Path) -> Path:
        """A socket whose other end nobody reads."""
        listener = socket.socket(socket.AF_UNIX)
        self._sockets.append(listener)
        listener.bind(str(folder / "net.sock"))
        (folder / "net.sock").chmod(0o666)
        listener.listen()
        return folder / "net.sock"

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()
        for spec in self._specs:
            if self._uids:
                self._uids.release(spec.folder)
            assert not is_locked(spec.folder), f"a machine of {spec.name} is left behind"
        shutil.rmtree(self._home)


@asynccontextmanager
async def running(rig: Rig, driver: Driver | None = None) -> AsyncIterator[tuple[MachineSpec, Machine]]:
    """A started machine that is gone afterwards, whatever the test did to it."""
    spec = rig.spec()
    machine = await (driver or rig.driver()).start(spec)
    try:
        yield spec, machine
    finally:
        await machine.detach()
        left = await rig.driver().adopt(spec.id, spec.folder)
        if left is not None:
            await left.kill()

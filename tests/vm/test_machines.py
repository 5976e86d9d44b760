"""Real machines beyond what every driver promises: boards and firmware, and ends that no service saw."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Unavailable, Unsupported
from insula.domain.instance import Firmware, MachineType
from insula.node.hypervisor.driver import CanAttachVolumes, EndReason, MachineSpec, MachineStatus
from insula.node.hypervisor.qemu.argv import machine_uuid
from insula.node.hypervisor.qemu.files import listening_socket
from insula.node.hypervisor.qemu.launch import is_locked, locked
from insula.node.hypervisor.qemu.machine import QemuMachine
from insula.node.runtime.processes import Process
from tests.conformance.rigs import QemuRig
from tests.conformance.test_volumes import new_volume, until
from tests.small_guest import console

pytestmark = pytest.mark.vm


@pytest.fixture
def rig() -> Iterator[QemuRig]:
    home = Path(tempfile.mkdtemp(prefix="insula-test-", dir="/var/tmp"))
    home.chmod(0o711)
    rig = QemuRig(home)
    yield rig
    rig.close()


def _with(spec: MachineSpec, machine_type: MachineType, firmware: Firmware) -> MachineSpec:
    # UEFI's firmware alone needs more than 128 MiB.
    resources = replace(spec.resources, memory_mib=256 if firmware is Firmware.UEFI else 128)
    return replace(spec, machine_type=machine_type, firmware=firmware, resources=resources)


@pytest.mark.parametrize(
    ("machine_type", "firmware"),
    [
        (MachineType.Q35, Firmware.BIOS),
        (MachineType.Q35, Firmware.UEFI),
        (MachineType.MICROVM, Firmware.BIOS),
    ],
)
async def test_every_board_boots_takes_volumes_and_obeys_its_power_button(
    rig: QemuRig, machine_type: MachineType, firmware: Firmware
) -> None:
    spec = _with(rig.spec(), machine_type, firmware)
    machine = await rig.driver().start(spec)
    try:
        await rig.booted(spec)
        async with console(spec.folder) as typed:
            devices = await typed.run("ls /dev/vda /dev/vport*p1 /dev/hwrng; ls /sys/firmware")
        assert "/dev/vda" in devices
        assert "/dev/hwrng" in devices
        assert ("efi" in devices.split()) is (firmware is Firmware.UEFI)
        volume = new_volume(rig)
        assert isinstance(machine, CanAttachVolumes)
        await machine.attach_volume(volume)
        await until(rig, spec, {volume.id: 1})
        await machine.detach_volume(volume.id)
        await until(rig, spec, {})
        await machine.press_power_button()
        assert await asyncio.wait_for(machine.wait(), 30) is EndReason.GUEST_SHUTDOWN
    finally:
        await machine.kill()


async def test_what_was_saved_before_there_were_volumes_wakes(rig: QemuRig) -> None:
    spec, volume = rig.spec(), new_volume(rig)
    with pytest.MonkeyPatch.context() as older:
        older.setattr("insula.node.hypervisor.qemu.argv._volumes", lambda spec, host: ())
        machine = await rig.driver().start(spec)
    try:
        await rig.booted(spec)
        assert isinstance(machine, QemuMachine)
        with pytest.raises(Unsupported, match="no place for volumes"):
            await machine.attach_volume(volume)
        await machine.pause()
        await machine.save(spec.folder / "memory")
    finally:
        await machine.kill()
    again = await rig.driver().start(replace(spec, saved=spec.folder / "memory"))
    try:
        assert isinstance(again, QemuMachine)
        await again.resume()
        await again.attach_volume(volume)
        async with console(spec.folder) as typed:
            assert await typed.run("echo awake") == "awake"
        assert await rig.volume_sizes(spec) == {}, "its kernel has not looked for new controllers"
        await again.reset()
        await rig.booted(spec)
        await until(rig, spec, {volume.id: 1})
    finally:
        await again.kill()


async def test_microvm_with_uefi_is_refused_and_leaves_nothing(rig: QemuRig) -> None:
    spec = _with(rig.spec(), MachineType.MICROVM, Firmware.UEFI)
    with pytest.raises(Unsupported, match="microvm"):
        await rig.driver().start(spec)
    assert not is_locked(spec.folder)


async def test_a_shutdown_and_a_panic_that_nobody_saw_are_told_apart(rig: QemuRig) -> None:
    for command, reason in (("poweroff -f", EndReason.GUEST_SHUTDOWN), ("echo c > /proc/sysrq-trigger", None)):
        spec = rig.spec(command.split()[0])
        machine = await rig.driver().start(spec)
        await rig.booted(spec)
        held = Process.hold(machine.pid)
        assert held is not None
        await machine.detach()
        async with console(spec.folder) as typed:
            await typed.type(command)
            await typed.until_closed(30)
        await asyncio.wait_for(held.wait_end(), 30)
        held.close()
        assert await rig.driver().adopt(spec.id, spec.folder) is None
        assert await rig.driver().last_end(spec.folder) is (reason or EndReason.CRASHED)


async def test_a_second_client_is_told_that_the_machine_is_taken(rig: QemuRig) -> None:
    spec = rig.spec()
    machine = await rig.driver().start(spec)
    try:
        begin_s = time.monotonic()
        with pytest.raises(Unavailable, match="another program is connected"):
            await rig.driver().adopt(spec.id, spec.folder)
        assert time.monotonic() - begin_s < 10
        assert await machine.status() is MachineStatus.RUNNING
    finally:
        await machine.kill()


async def test_a_start_that_its_service_did_not_live_to_finish_is_ended(rig: QemuRig) -> None:
    """QEMU stopped in the middle of its start: it holds the folder's lock and will never answer."""
    spec = rig.spec()
    machine = await rig.driver().start(spec)
    held = Process.hold(machine.pid)
    assert held is not None
    await machine.detach()
    (spec.folder / "qmp.sock").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("insula.node.hypervisor.qemu.driver._ADOPT_TIMEOUT_S", 1.0)
        assert await rig.driver().adopt(spec.id, spec.folder) is None
    await asyncio.wait_for(held.wait_end(), 5)
    held.send(signal.SIGKILL)
    held.close()


async def test_a_jail_that_waits_for_its_dead_service_is_ended(rig: QemuRig) -> None:
    """Bubblewrap holds the lock and QEMU's listening socket, and no QEMU will ever answer there."""
    spec = rig.spec()
    listener = listening_socket(spec.folder / "qmp.sock")
    with locked(spec) as lock:
        argv = [sys.executable, "-c", "import time; time.sleep(60)", machine_uuid(spec.id)]
        jail = await asyncio.create_subprocess_exec(*argv, pass_fds=[lock, listener.fileno()])
    listener.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("insula.node.hypervisor.qemu.driver._ADOPT_TIMEOUT_S", 1.0)
        assert await rig.driver().adopt(spec.id, spec.folder) is None
    assert await asyncio.wait_for(jail.wait(), 5) == -signal.SIGKILL
    assert not is_locked(spec.folder)


async def test_starting_adopting_and_noticing_are_quick(rig: QemuRig) -> None:
    spec = rig.spec()
    begin_s = time.monotonic()
    machine = await rig.driver().start(spec)
    started_s = time.monotonic() - begin_s
    await machine.detach()
    begin_s = time.monotonic()
    adopted = await rig.driver().adopt(spec.id, spec.folder)
    adopted_s = time.monotonic() - begin_s
    assert adopted is not None
    rig.crash(spec, adopted)
    begin_s = time.monotonic()
    assert await asyncio.wait_for(adopted.wait(), 1) is EndReason.CRASHED
    noticed_s = time.monotonic() - begin_s
    await adopted.kill()
    assert (started_s < 5, adopted_s < 2, noticed_s < 1) == (True, True, True), (started_s, adopted_s, noticed_s)

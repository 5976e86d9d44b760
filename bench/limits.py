"""Whether limits are real: a small guest works against each of them, and the host measures what it got.

Straight on the driver, with the plan's numbers but without service and image; `python -m bench.limits` prints the
table alone. The network's limit belongs to the instance's network and is measured there.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench.measure import Row, cpu_seconds
from insula.domain.instance import Firmware, MachineType, Resources
from insula.domain.plan import find_plan
from insula.node.hypervisor.driver import DirectBoot, MachineSpec
from insula.node.hypervisor.qemu.driver import QemuDriver
from insula.node.hypervisor.qemu.machine import QemuMachine
from insula.node.runtime.uids import UidRange
from tests.small_guest import Console, booted, console, small_guest

_PLAN = find_plan("micro-1")
_SPIN_S = 20.0
_DISK_MBPS, _DISK_IOPS = (
    8,
    60,
)  # what an emulated guest on a busy host reaches with ease, so that the limit is what binds
_READ_MB, _READS, _SHELLS = 80, 600, 4


def measure() -> list[Row]:
    """One guest, limit by limit."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    async with _guest() as (machine, typed):
        if machine is None:
            return [Row("limits", "not measured", note="this host has no cgroups for us: see `insula doctor`")]
        rows = [await _processor(machine, typed)]
        # The disk's rates are measured with the processor free: a guest on a quarter core would not reach them.
        free = replace(_resources(), cpu_percent=0, disk_mbps=_DISK_MBPS, disk_iops=0)
        await machine.set_limits(free)
        rows.append(await _bandwidth(typed))
        await machine.set_limits(replace(free, disk_mbps=0, disk_iops=_DISK_IOPS))
        rows.append(await _operations(typed))
        rows.append(await _memory(typed))
        return rows


def _resources() -> Resources:
    return Resources(
        vcpus=_PLAN.vcpus, memory_mib=_PLAN.memory_mib, disk_gib=1, cpu_percent=100, cpu_weight=_PLAN.cpu_weight
    )


async def _processor(machine: QemuMachine, typed: Console) -> Row:
    await machine.set_limits(replace(_resources(), cpu_percent=_PLAN.cpu_percent))
    await typed.type("while :; do :; done &")
    await asyncio.sleep(2)
    began_s, used_s = time.monotonic(), cpu_seconds(machine.pid)
    await asyncio.sleep(_SPIN_S)
    share = 100 * (cpu_seconds(machine.pid) - used_s) / (time.monotonic() - began_s)
    await machine.set_limits(_resources())
    await typed.run("kill %1", 60)
    return Row("spinning guest on a quarter vCPU", f"{share:.1f} % of a core", "20 … 30 %", 20 <= share <= 30)


async def _bandwidth(typed: Console) -> Row:
    rate = await _rate(typed, f"dd if=/dev/vda of=/dev/null bs=1M count={_READ_MB}", _READ_MB * 1.048576)
    return _within("disk bandwidth", rate, _DISK_MBPS, "MB/s")


async def _operations(typed: Console) -> Row:
    # Far apart, so that reading ahead cannot merge them: each is one operation of 4 KiB. Several shells at once, so
    # that the limit binds and not the emulated processor that starts each read.
    read = "dd if=/dev/vda of=/dev/null bs=4k count=1 skip=$((i * 300 + 30000))"
    shells = [
        f"(i={shell}; while [ $i -lt {_READS} ]; do {read}; i=$((i + {_SHELLS})); done) 2>/dev/null & "
        for shell in range(_SHELLS)
    ]
    await typed.run("echo 0 > /sys/block/vda/queue/read_ahead_kb")
    rate = await _rate(typed, "".join(shells) + "wait", _READS)
    return _within("disk operations", rate, _DISK_IOPS, "IOPS")


async def _memory(typed: Console) -> Row:
    said = await typed.run("cat /proc/zoneinfo | grep present")
    pages = sum(int(number) for number in re.findall(r"present\s+(\d+)", said))
    return _within("memory that the guest sees", pages * 4096 / 2**20, _PLAN.memory_mib, "MiB")


async def _rate(typed: Console, command: str, amount: float) -> float:
    began_s = time.monotonic()
    await typed.run(command, 120)
    return amount / (time.monotonic() - began_s)


def _within(what: str, value: float, limit: float, unit: str) -> Row:
    off = 100 * (value / limit - 1)
    return Row(what, f"{value:.1f} {unit} ({off:+.1f} %)", f"{limit:g} {unit} ± 10 %", abs(off) <= 10)


@asynccontextmanager
async def _guest() -> AsyncIterator[tuple[QemuMachine | None, Console]]:
    """A booted small guest with a full disk of 900 MiB, gone afterwards. No machine where cgroups are missing."""
    home = Path(tempfile.mkdtemp(prefix="insula-bench-", dir="/var/tmp"))
    home.chmod(0o711)
    folder = home / "limits"
    folder.mkdir(mode=0o711)
    uids = UidRange() if UidRange.is_usable() else None
    driver = QemuDriver(home)
    machine: QemuMachine | None = None
    try:
        guest = await asyncio.to_thread(small_guest)
        spec = MachineSpec(
            id=f"ins_bench_{os.getpid()}",
            name="limits",
            folder=folder,
            resources=_resources(),
            machine_type=MachineType.Q35,
            firmware=Firmware.BIOS,
            disk=await asyncio.to_thread(_full_disk, folder),
            direct_boot=DirectBoot(guest.kernel, guest.initrd, guest.command_line),
            uid=uids.claim(folder) if uids else None,
        )
        machine = await driver.start(spec)
        await booted(folder)
        async with console(folder) as typed:
            yield (None if "cpu" in driver.cgroups.missing else machine), typed
    finally:
        if machine is not None:
            await machine.kill()
        if uids:
            uids.release(folder)
        shutil.rmtree(home)


def _full_disk(folder: Path) -> Path:
    """A disk whose blocks exist: reading holes would cost nothing."""
    disk = folder / "disk.qcow2"
    raw = folder / "raw"
    raw.write_bytes(os.urandom(1 << 20) * 900)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True, timeout=120)
    raw.unlink()
    return disk

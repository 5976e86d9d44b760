"""The two experiments: a tiny guest through /dev/kvm itself, and a real kernel in QEMU. Both bounded in time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from insula.base.errors import CommandFailed, HostFailure
from insula.base.run import find_program, run
from insula.node.hypervisor.kvm.verdict import Boot, Payload
from insula.node.hypervisor.qemu.argv import PROGRAM
from insula.node.hypervisor.qemu.firmware import data_folders
from insula.node.runtime.jail import Jail, confined

_PAYLOAD_TIMEOUT_S = 6.0
_BOOT_TIMEOUT_S = 20.0
_TAIL_CHARS = 200
# A kernel without a root file system ends here, after it has brought up memory, interrupts, timers and devices.
_LAST_WORDS = ("Unable to mount root fs", "No working init found")


async def run_payload() -> Payload | None:
    """Run the tiny guests; None when they never came back.

    A process of its own, unconfined: it is our code, it must reach /dev/kvm as we do, and it may have to be killed.
    """
    begin_s = time.monotonic()
    script = Path(__file__).with_name("payload.py")
    try:
        done = await run([find_program("python3"), "-I", str(script)], timeout_s=_PAYLOAD_TIMEOUT_S, check=False)
    except CommandFailed:
        return None
    took_ms = round((time.monotonic() - begin_s) * 1000)
    try:
        modes = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return Payload({}, {"any": last or f"exit status {done.returncode}"}, took_ms)
    rates = {mode: float(found["loops_per_s"]) for mode, found in modes.items() if "loops_per_s" in found}
    return Payload(rates, {mode: found["error"] for mode, found in modes.items() if "error" in found}, took_ms)


async def boot_kernel(kernel: Path) -> Boot:
    """Boot `kernel` under KVM until it misses its root file system, and QEMU ends with its reboot."""
    argv = [
        *(PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,vmport=off,hpet=off,usb=off", "-accel", "kvm", "-cpu", "host"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-m", "256M", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    device = Path("/dev/kvm")
    jail = Jail(read_only=(kernel, *data_folders()), devices=(device,))
    begin_s = time.monotonic()
    try:
        done = await run(confined(argv, jail), timeout_s=_BOOT_TIMEOUT_S, check=False)
    except HostFailure as error:
        return Boot(round((time.monotonic() - begin_s) * 1000), error.what)
    took_ms = round((time.monotonic() - begin_s) * 1000)
    if any(words in done.text for words in _LAST_WORDS):
        return Boot(took_ms, "")
    said = (done.stderr.decode("utf-8", "replace").strip() or done.text.strip())[-_TAIL_CHARS:]
    return Boot(took_ms, f"QEMU ended with status {done.returncode}: {' '.join(said.split())}")


def host_kernel() -> Path | None:
    """A kernel of the host's own that we may read, the newest; None when there is none."""
    kernels = sorted(Path("/boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    return next((kernel for kernel in reversed(kernels) if os.access(kernel, os.R_OK)), None)

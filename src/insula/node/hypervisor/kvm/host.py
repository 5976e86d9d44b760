"""What this host says about its virtualization before anything is tried."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

DEVICE = Path("/dev/kvm")
# Modules that offer /dev/kvm. PVM is KVM without hardware virtualization (a guest kernel must be built for it).
_MODULES = ("kvm_intel", "kvm_amd", "kvm_pvm")
_FLAGS = frozenset({"vmx", "svm", "hypervisor"})


@dataclass(frozen=True)
class HostFacts:
    """`trouble` says why we cannot open /dev/kvm, `closed_to_machines` why only we can; both empty when all is well.

    `key` changes when a verdict must be renewed. `flags` are those of vmx, svm and hypervisor that the CPU has;
    `modules` are the loaded KVM modules.
    """

    has_device: bool
    trouble: str
    closed_to_machines: str
    flags: frozenset[str]
    modules: frozenset[str]
    key: str


def read_facts(qemu: Path, *, needs_group: bool) -> HostFacts:
    """Look at the device, the CPU and the modules; takes a few milliseconds of small files.

    `needs_group` is true when machines run as users of their own, who reach the device through its group only.
    """
    cpu = _cpu()
    modules = frozenset(name for name in _MODULES if (Path("/sys/module") / name).exists())
    status = qemu.stat()
    parts = (os.uname().release, os.uname().version, str(qemu), str(status.st_size), str(status.st_mtime_ns), cpu[0])
    flags = frozenset(cpu[1].split()) & _FLAGS
    key = hashlib.sha256("\n".join((*parts, *sorted(flags), *sorted(modules))).encode()).hexdigest()[:32]
    trouble = _trouble()
    closed = _closed_to_machines() if needs_group and not trouble else ""
    return HostFacts(DEVICE.exists(), trouble, closed, flags, modules, key)


def _cpu() -> tuple[str, str]:
    """The first CPU's model and flags."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, separator, value = line.partition(":")
        if not separator and fields:
            break
        fields[name.strip()] = value.strip()
    return fields.get("model name", platform.machine()), fields.get("flags", "")


def _trouble() -> str:
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            return "this user may not open /dev/kvm"
        return f"/dev/kvm cannot be opened: {error.strerror}"
    return ""


def _closed_to_machines() -> str:
    status = DEVICE.stat()
    if status.st_mode & 0o006 == 0o006 or (status.st_mode & 0o060 == 0o060 and status.st_gid != 0):
        return ""
    return f"only root may open /dev/kvm (mode {status.st_mode & 0o777:03o}), and machines do not run as root"


def tsc_khz() -> int:
    """The frequency of the host's time stamp counter; 0 where the kernel tells only the clock that varies with load."""
    if (Path("/sys/devices/system/cpu/cpu0") / "cpufreq").exists():
        return 0
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("cpu MHz"):
            return round(float(line.rpartition(":")[2]) * 1000)
    return 0

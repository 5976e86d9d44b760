"""From an instance's resources to its machine's cgroup limits."""

from __future__ import annotations

from insula.domain.instance import Resources
from insula.domain.volume import MAX_ATTACHED
from insula.node.hypervisor.qemu.argv import TCG_CODE_CACHE_MIB
from insula.node.hypervisor.qemu.blocks import TABLES_BYTES
from insula.node.runtime.cgroups import Limits

# What QEMU itself needs beside the guest's memory: its program and device state, translated code under emulation, page
# tables and buffers that grow with the guest. Measured: 60 to 150 MiB for guests of 128 MiB to 2 GiB.
_OVERHEAD_MIB = 160
_OVERHEAD_PERCENT = 3
_VOLUMES_MIB = MAX_ATTACHED * TABLES_BYTES >> 20
# QEMU's threads: its own, one a vCPU, and a pool of at most 64 for disk I/O.
_OWN_THREADS = 96


def overhead_mib(memory_mib: int) -> int:
    """What a machine may use on the host beyond its guest's memory."""
    return _OVERHEAD_MIB + _VOLUMES_MIB + TCG_CODE_CACHE_MIB + memory_mib * _OVERHEAD_PERCENT // 100


def machine_limits(resources: Resources) -> Limits:
    return Limits(
        cpu_percent=resources.cpu_percent,
        cpu_weight=resources.cpu_weight,
        memory_bytes=(resources.memory_mib + overhead_mib(resources.memory_mib)) * 1024 * 1024,
        pids=_OWN_THREADS + resources.vcpus,
    )

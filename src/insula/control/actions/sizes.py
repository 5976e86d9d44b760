"""How large an instance may be, and what a plan with overrides comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from insula.control.actions.faults import Faults
from insula.domain.instance import Resources
from insula.domain.plan import Plan

MAX_VCPUS = 256
MIN_MEMORY_MIB, MAX_MEMORY_MIB = 64, 4 * 1024 * 1024
MIN_DISK_GIB, MAX_DISK_GIB = 1, 64 * 1024
MAX_DISK_IOPS, MAX_DISK_MBPS = 10_000_000, 100_000
MAX_NETWORK_MBPS, MAX_NETWORK_PPS = 400_000, 100_000_000


@dataclass(frozen=True)
class SizeWish:
    """Departures from a plan; None keeps the plan's number. Limits of 0 are none."""

    vcpus: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    disk_iops: int | None = None
    disk_mbps: int | None = None
    network_mbps: int | None = None
    network_pps: int | None = None


def resources_of(plan: Plan) -> Resources:
    return Resources(
        vcpus=plan.vcpus,
        memory_mib=plan.memory_mib,
        disk_gib=plan.disk_gib,
        cpu_percent=plan.cpu_percent,
        cpu_weight=plan.cpu_weight,
        disk_iops=plan.disk_iops,
        disk_mbps=plan.disk_mbps,
        network_mbps=plan.network_mbps,
        network_pps=plan.network_pps,
    )


def apply_wish(base: Resources, wish: SizeWish, faults: Faults) -> Resources:
    """`base` with the wish's numbers; CPU time grows and shrinks with the vCPUs. Notes numbers out of bounds."""
    changed = base
    if wish.vcpus is not None:
        faults.between("vcpus", wish.vcpus, 1, MAX_VCPUS)
        share = base.cpu_percent / base.vcpus
        changed = replace(changed, vcpus=wish.vcpus, cpu_percent=max(1, round(share * wish.vcpus)))
    if wish.memory_mib is not None:
        faults.between("memory_mib", wish.memory_mib, MIN_MEMORY_MIB, MAX_MEMORY_MIB)
        changed = replace(changed, memory_mib=wish.memory_mib)
    if wish.disk_gib is not None:
        faults.between("disk_gib", wish.disk_gib, MIN_DISK_GIB, MAX_DISK_GIB)
        changed = replace(changed, disk_gib=wish.disk_gib)
    if wish.disk_iops is not None:
        faults.between("disk_iops", wish.disk_iops, 0, MAX_DISK_IOPS)
        changed = replace(changed, disk_iops=wish.disk_iops)
    if wish.disk_mbps is not None:
        faults.between("disk_mbps", wish.disk_mbps, 0, MAX_DISK_MBPS)
        changed = replace(changed, disk_mbps=wish.disk_mbps)
    if wish.network_mbps is not None:
        faults.between("network_mbps", wish.network_mbps, 0, MAX_NETWORK_MBPS)
        changed = replace(changed, network_mbps=wish.network_mbps)
    if wish.network_pps is not None:
        faults.between("network_pps", wish.network_pps, 0, MAX_NETWORK_PPS)
        changed = replace(changed, network_pps=wish.network_pps)
    return changed

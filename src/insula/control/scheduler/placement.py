"""Which node takes an instance, as a pure function of numbers; and the reasons when none does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from insula.base.errors import CapacityExceeded
from insula.domain.capacity import Amount, Capacity, Claim
from insula.domain.instance import Resources
from insula.protocol.node import NodeReport

_LEAST_RESERVE_MIB = 512
_MOST_RESERVE_MIB = 4096
_RESERVE_SHARE = 0.1


@dataclass(frozen=True)
class HostPolicy:
    """How much of a host is promised to instances; see the settings of the same names."""

    reserve_memory_mib: int | None = None
    overcommit_vcpu: float = 8.0
    overcommit_memory: float = 1.0
    overcommit_disk: float = 4.0

    def reserve_mib(self, memory_mib: int) -> int:
        """The memory that a host of this size keeps for itself."""
        if self.reserve_memory_mib is not None:
            return min(self.reserve_memory_mib, memory_mib)
        return min(memory_mib, max(_LEAST_RESERVE_MIB, min(_MOST_RESERVE_MIB, int(memory_mib * _RESERVE_SHARE))))


@dataclass(frozen=True)
class Placement:
    """The node that takes it."""

    node: str


@dataclass(frozen=True)
class Refusal:
    """Why nobody takes it: one reason with its numbers per node."""

    reasons: tuple[str, ...]

    def error(self) -> CapacityExceeded:
        """The refusal as an error for the user."""
        return CapacityExceeded(
            "No host can hold this",
            why="; ".join(self.reasons),
            todo="Choose a smaller size, or delete instances or volumes; `insula capacity` shows all numbers",
        )


def capacity(report: NodeReport, claims: Iterable[Claim], policy: HostPolicy) -> Capacity:
    """What a node has, has promised and has left."""
    claimed = [claim for claim in claims if claim.node == report.name]
    held = [claim.resources for claim in claimed]
    reserve = policy.reserve_mib(report.memory_mib)
    cpu_percent = sum(r.cpu_percent for r in held) + report.templates.cpu_percent
    used_mib = sum(r.memory_mib for r in held) + report.templates.memory_mib + report.forks.memory_mib
    return Capacity(
        node=report.name,
        cpu_percent=Amount(report.cores * 100 * policy.overcommit_vcpu, cpu_percent),
        memory_mib=Amount((report.memory_mib - reserve) * policy.overcommit_memory, used_mib),
        disk_gib=Amount(report.disk_free_gib * policy.overcommit_disk, sum(r.disk_gib for r in held)),
        physical_cores=report.cores,
        physical_memory_mib=report.memory_mib,
        physical_disk_free_gib=report.disk_free_gib,
        reserve_memory_mib=reserve,
        instances=sum(not claim.is_volume for claim in claimed),
        templates=report.templates,
        spare=report.spare,
        forks=report.forks,
        physical_disk_gib=report.disk_total_gib,
    )


def place(wanted: Resources, nodes: Sequence[Capacity]) -> Placement | Refusal:
    """The fitting node with the most free memory; equal ones by name, so that the answer never depends on order."""
    reasons = {node.node: _shortages(wanted, node) for node in nodes}
    fitting = [node for node in nodes if not reasons[node.node]]
    if fitting:
        return Placement(min(fitting, key=lambda node: (-node.memory_mib.free, node.node)).node)
    if not nodes:
        return Refusal(("there is no node",))
    return Refusal(tuple(f"node {name} {', '.join(short)}" for name, short in sorted(reasons.items())))


def _shortages(wanted: Resources, node: Capacity) -> list[str]:
    short: list[str] = []
    if wanted.memory_mib > node.memory_mib.free:
        short.append(
            f"has {max(0, node.memory_mib.free):.0f} MiB of memory left, {wanted.memory_mib} are wanted "
            f"({node.physical_memory_mib} in all, {node.reserve_memory_mib} kept for the host, "
            f"{node.memory_mib.used:.0f} promised to {node.instances} instances{_to_others(node)})"
        )
    if wanted.cpu_percent > node.cpu_percent.free:
        short.append(
            f"has {max(0, node.cpu_percent.free):.0f} % of a core left, {wanted.cpu_percent} % are wanted "
            f"({node.physical_cores} cores, {node.cpu_percent.used:.0f} % of {node.cpu_percent.total:.0f} % promised)"
        )
    if wanted.disk_gib > node.disk_gib.free:
        short.append(
            f"has {max(0, node.disk_gib.free):.0f} GiB of disk left, {wanted.disk_gib} are wanted "
            f"({node.physical_disk_free_gib:.1f} GiB are free, {node.disk_gib.used:.0f} of "
            f"{node.disk_gib.total:.0f} GiB promised)"
        )
    return short


def _to_others(node: Capacity) -> str:
    template = " and a template that is being made" if node.templates.memory_mib else ""
    return template + (" and forks whose children are not there yet" if node.forks.memory_mib else "")

"""What QEMU counts of a machine's disks: pure. Source: QEMU QMP Reference (query-blockstats)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insula.node.hypervisor.driver import DiskCounts


def disk_counts(answer: Sequence[Mapping[str, Any]]) -> DiskCounts:
    """All of the guest's disks together; what a device counts goes on when its disk gets another layer.

    A volume takes with it what it has counted when it is detached: then the sum shrinks.
    """
    stats = [entry["stats"] for entry in answer]
    return DiskCounts(
        read_bytes=sum(int(each["rd_bytes"]) for each in stats),
        written_bytes=sum(int(each["wr_bytes"]) for each in stats),
        reads=sum(int(each["rd_operations"]) for each in stats),
        writes=sum(int(each["wr_operations"]) for each in stats),
    )

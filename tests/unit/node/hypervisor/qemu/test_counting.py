from __future__ import annotations

from typing import Any

from insula.node.hypervisor.driver import DiskCounts
from insula.node.hypervisor.qemu.counting import disk_counts


def _device(read: int, written: int) -> dict[str, Any]:
    stats = {"rd_bytes": read, "wr_bytes": written, "rd_operations": read // 512, "wr_operations": written // 512}
    return {"device": "", "qdev": "/machine/peripheral-anon/device[1]", "stats": stats, "parent": {"stats": stats}}


def test_all_disks_of_a_guest_are_counted_once() -> None:
    assert disk_counts([_device(5120, 1024), _device(512, 0)]) == DiskCounts(5632, 1024, 11, 2)
    assert disk_counts([]) == DiskCounts()

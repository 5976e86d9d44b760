"""The block devices of a machine as QEMU's options and commands describe them: pure.

Source: QEMU QMP Reference (BlockdevOptions, ThrottleLimits); the properties of scsi-hd in hw/scsi/scsi-disk.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from insula.node.hypervisor.driver import MachineVolume

CONTROLLER = "volumes"
# What QEMU keeps of a volume's tables in memory; enough for 32 GiB at a time.
TABLES_BYTES = 4 << 20


@dataclass(frozen=True)
class VolumeNames:
    """What QEMU calls the parts of a volume: its node, the throttled one above, its device, its limits.

    A node's name has room for 31 characters, an id's last part has 26.
    """

    node: str
    throttled: str
    device: str
    limits: str


def volume_names(volume_id: str) -> VolumeNames:
    own = volume_id.rpartition("_")[2]
    return VolumeNames(f"vol-{own}", f"thr-{own}", f"device-{own}", f"limits-{own}")


def throttle_limits(iops: int, mbps: int) -> Mapping[str, int]:
    """ThrottleLimits of QMP; 0 is unlimited. Operations and bytes of reads and writes together."""
    return {"iops-total": iops, "bps-total": mbps * 1_000_000}


def disk_node(name: str, file: Mapping[str, Any]) -> dict[str, Any]:
    """The block node of a disk that the guest writes to; `file` says which."""
    # Through the host's page cache: instances share what they read of one image, and every file system can do it.
    # Flushes of the guest still reach the disk, so a power loss costs nothing that the guest was promised. Threads
    # are the only asynchronous I/O that works with the page cache under every kernel and seccomp filter.
    cache = {"direct": False, "no-flush": False}
    return {
        "driver": "qcow2",
        "node-name": name,
        "cache": cache,
        "discard": "unmap",
        "detect-zeroes": "unmap",  # space that a guest zeroes is given back to the host
        "file": {"driver": "file", **file, "aio": "threads", "cache": cache, "discard": "unmap"},
    }


def throttled_node(name: str, limits: str, below: str) -> dict[str, Any]:
    """The node that holds `below` to the limits of a throttle group."""
    # A node that is not told to pass discards on drops them, whatever those below would do.
    return {"driver": "throttle", "node-name": name, "throttle-group": limits, "file": below, "discard": "unmap"}


def throttle_group(name: str, limits: Mapping[str, int]) -> dict[str, Any]:
    return {"qom-type": "throttle-group", "id": name, "limits": limits}


def volume_group(volume: MachineVolume) -> dict[str, Any]:
    """The throttle group of a volume."""
    return throttle_group(volume_names(volume.id).limits, throttle_limits(volume.disk_iops, volume.disk_mbps))


def volume_nodes(volume: MachineVolume, file: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its nodes, the lower one first; `file` says which file it is."""
    names = volume_names(volume.id)
    # No other file belongs to it, whatever a machine that had it before may have written into its header.
    node = {**disk_node(names.node, file), "backing": None, "l2-cache-size": TABLES_BYTES}
    return node, throttled_node(names.throttled, names.limits, names.node)


def volume_device(volume: MachineVolume) -> dict[str, Any]:
    """The disk that the guest sees, which its udev calls `scsi-0Insula_Volume_NAME`."""
    names = volume_names(volume.id)
    return {
        "driver": "scsi-hd",
        "id": names.device,
        "bus": f"{CONTROLLER}.0",
        "scsi-id": volume.slot,
        "lun": 0,
        "drive": names.throttled,
        "vendor": "Insula",
        "product": "Volume",
        "device_id": volume.name,
        "serial": volume.id,
    }

"""Volumes that come and go while a machine runs. Each call asks QEMU what it has, so it may be repeated at any point.

The jail of a running machine does not show new files, so the file is handed over as a descriptor, in a set of
descriptors that bears the volume's name. A SCSI disk goes at once when it is told to; the guest is not waited for.
Source: QEMU QMP Reference (blockdev-add, device_add, device_del, query-block, add-fd, block_resize, object-add,
qom-set).
"""

from __future__ import annotations

import asyncio
import os

from insula.base.errors import HostFailure, Unsupported
from insula.domain.disk import check_growth
from insula.node.hypervisor.driver import MachineVolume
from insula.node.hypervisor.qemu.blocks import (
    CONTROLLER,
    VolumeNames,
    throttle_limits,
    volume_device,
    volume_group,
    volume_names,
    volume_nodes,
)
from insula.node.hypervisor.qemu.qmp import Qmp

_DEVICES = "/machine/peripheral"
_POLL_S = 0.01
_GONE_S = 15.0
_RESIZE_S = 60.0


async def attach(qmp: Qmp, volume: MachineVolume) -> None:
    """See CanAttachVolumes."""
    if CONTROLLER not in await _children(qmp, _DEVICES):
        raise Unsupported(
            "This machine has no place for volumes",
            why="It was started by an older Insula, whose machines have no controller for them",
            todo="Stop the instance and start it again; a reboot from inside is not enough",
            code="no-volumes",
        )
    names = volume_names(volume.id)
    if names.limits not in await _children(qmp, "/objects"):
        await qmp.run("object-add", volume_group(volume))
    nodes = await _nodes(qmp)
    if names.node not in nodes:
        await _open(qmp, volume)
    if names.throttled not in nodes:
        _, throttled = volume_nodes(volume, {})
        await qmp.run("blockdev-add", throttled)
    if names.device not in await _children(qmp, _DEVICES):
        await _await_unused(qmp, names)  # a try to detach it may have been cut off
        await qmp.run("device_add", volume_device(volume))


async def detach(qmp: Qmp, volume_id: str) -> None:
    """See CanAttachVolumes."""
    names = volume_names(volume_id)
    if names.device in await _children(qmp, _DEVICES):
        await qmp.run("device_del", {"id": names.device})
    await _await_unused(qmp, names)
    nodes = await _nodes(qmp)
    for node in (names.throttled, names.node):
        if node in nodes:
            await qmp.run("blockdev-del", {"node-name": node})
    if names.limits in await _children(qmp, "/objects"):
        await qmp.run("object-del", {"id": names.limits})
    await _forget_descriptors(qmp, names.node)


async def grow(qmp: Qmp, volume_id: str, size_gib: int) -> None:
    """See CanAttachVolumes."""
    await resize(qmp, volume_names(volume_id).throttled, size_gib)


async def limit(qmp: Qmp, volume: MachineVolume) -> None:
    """See CanAttachVolumes."""
    limits = throttle_limits(volume.disk_iops, volume.disk_mbps)
    path = f"/objects/{volume_names(volume.id).limits}"
    await qmp.run("qom-set", {"path": path, "property": "limits", "value": limits})


async def resize(qmp: Qmp, throttled: str, size_gib: int) -> None:
    """Make a disk larger; its uppermost node is told, or the guest would not hear of it. Raises Conflict.

    QEMU would make it smaller as well, when a growth that nobody saw end is followed by a wish for less.
    """
    nodes = await qmp.run("query-named-block-nodes", {"flat": True})
    present = next((node["image"]["virtual-size"] for node in nodes if node["node-name"] == throttled), 0)
    check_growth(present, size_gib)
    await qmp.run("block_resize", {"node-name": throttled, "size": size_gib << 30}, timeout_s=_RESIZE_S)


async def _open(qmp: Qmp, volume: MachineVolume) -> None:
    await _forget_descriptors(qmp, volume_names(volume.id).node)  # of a try that was cut off
    descriptor = os.open(volume.file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        set_id = await qmp.give_to_set(descriptor, label=volume_names(volume.id).node)
    finally:
        os.close(descriptor)
    node, _ = volume_nodes(volume, {"filename": f"/dev/fdset/{set_id}"})
    await qmp.run("blockdev-add", node)


async def _forget_descriptors(qmp: Qmp, label: str) -> None:
    for each in await qmp.run("query-fdsets"):
        if any(descriptor.get("opaque") == label for descriptor in each["fds"]):
            await qmp.run("remove-fd", {"fdset-id": each["fdset-id"]})


async def _await_unused(qmp: Qmp, names: VolumeNames) -> None:
    """Until there is no device of it, nor what one that is gone lets go of a moment later."""
    try:
        async with asyncio.timeout(_GONE_S):
            while await _is_used(qmp, names):  # noqa: ASYNC110 - QEMU is asked
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise HostFailure(
            "The machine does not let go of a volume",
            why=f"QEMU was told {_GONE_S:g} s ago to take the disk away, and has not done it",
            todo="Try again; a volume goes for certain when its instance is stopped",
            code="volume-stuck",
        ) from error


async def _is_used(qmp: Qmp, names: VolumeNames) -> bool:
    if names.device in await _children(qmp, _DEVICES):
        return True
    inserted = [each.get("inserted", {}) for each in await qmp.run("query-block")]
    return any(each.get("node-name") == names.throttled for each in inserted)


async def _nodes(qmp: Qmp) -> frozenset[str]:
    return frozenset(str(node["node-name"]) for node in await qmp.run("query-named-block-nodes", {"flat": True}))


async def _children(qmp: Qmp, path: str) -> frozenset[str]:
    return frozenset(str(child["name"]) for child in await qmp.run("qom-list", {"path": path}))

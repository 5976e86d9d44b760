"""The layers of a running machine's disk: the one it was started with, and one for each fork since.

Source: QEMU QMP Reference (query-named-block-nodes, block-stream, query-jobs), docs/interop/live-block-operations.rst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insula.base.clock import monotonic_s
from insula.base.errors import HostFailure
from insula.node.hypervisor.qemu.argv import DISK
from insula.node.hypervisor.qemu.qmp import Qmp

_JOB = "merge-layers"
_POLL_S = 0.02
_MERGED_S = 600.0


def layer_node(name: str) -> str:
    """What QEMU calls the layer that the fork of this name made."""
    return f"{DISK}-{name}"


@dataclass(frozen=True)
class Layer:
    """A layer of the disk that we named: how many files are behind it, and whether it is only read."""

    node: str
    depth: int
    is_read_only: bool


async def layers(qmp: Qmp) -> list[Layer]:
    """In no order; one that was opened and is not in use yet has nothing behind it."""
    return [
        Layer(str(node["node-name"]), int(node["backing_file_depth"]), bool(node["ro"]))
        for node in await _nodes(qmp)
        if node["node-name"] == DISK or str(node["node-name"]).startswith(f"{DISK}-")
    ]


def active(found: Sequence[Layer]) -> Layer:
    """The layer that the guest writes to."""
    return max((layer for layer in found if not layer.is_read_only), key=lambda layer: layer.depth)


async def merge(qmp: Qmp, base: Path) -> None:
    """See CanFork.merge_layers."""
    if await _job(qmp) is None:  # else a service before us began it
        await _begin(qmp, base)
    await _await_end(qmp)
    found = await layers(qmp)
    present = active(found)
    # From the top, since each holds on to those behind it.
    for layer in sorted(found, key=lambda layer: layer.depth, reverse=True):
        if layer is not present:
            await qmp.run("blockdev-del", {"node-name": layer.node})


async def _nodes(qmp: Qmp) -> list[dict[str, Any]]:
    return [node for node in await qmp.run("query-named-block-nodes") if node["drv"] == "qcow2"]


async def _job(qmp: Qmp) -> dict[str, Any] | None:
    return next((job for job in await qmp.run("query-jobs") if job["id"] == _JOB), None)


async def _begin(qmp: Qmp, base: Path) -> None:
    below = next((node["node-name"] for node in await _nodes(qmp) if node["file"] == str(base)), None)
    if below is None:
        raise _failed(f"QEMU does not have {base} open")
    node = active(await layers(qmp)).node
    by_hand = {"auto-finalize": False, "auto-dismiss": False}
    await qmp.run("block-stream", {"job-id": _JOB, "device": node, "base-node": below, **by_hand})


async def _await_end(qmp: Qmp) -> None:
    deadline_s = monotonic_s() + _MERGED_S
    while True:
        job = await _job(qmp)
        if job is None:
            return
        if job["status"] == "pending":
            # It has copied all, and names the new base in the disk next. QEMU writes that at once, but keeps tables
            # that say where the copies are in memory: of a machine that is killed then, data would be missing.
            await _flush(qmp)
            await qmp.run("job-finalize", {"id": _JOB})
        if job["status"] == "concluded":
            break
        if monotonic_s() > deadline_s:
            await qmp.run("job-cancel", {"id": _JOB})
            deadline_s += _MERGED_S
        await asyncio.sleep(_POLL_S)
    await qmp.run("job-dismiss", {"id": _JOB})
    if "error" in job:
        raise _failed(str(job["error"]))
    if job["current-progress"] < job["total-progress"]:
        raise _failed(f"It did not end within {_MERGED_S:g} s")
    await _flush(qmp)  # the layers between are removed as soon as the disk's file does not name them any more


async def _flush(qmp: Qmp) -> None:
    """Have all that was written to the disk on the host's disk."""
    # QMP has no command for this that does not stop the guest.
    said = await qmp.run("human-monitor-command", {"command-line": f'qemu-io {active(await layers(qmp)).node} "flush"'})
    if said.strip():
        raise _failed(f"What was copied could not be written: {said.strip()}")


def _failed(why: str) -> HostFailure:
    return HostFailure(
        "The layers of a disk could not be merged",
        why=why,
        todo="Look at the machine's qemu.log and the host's disk",
        code="merge-failed",
    )

"""What operations on volumes share: the node's view of one, attaching and detaching, and their endings."""

from __future__ import annotations

from dataclasses import replace

from insula.control.operations.engine.table import Ending, Failure, Work
from insula.control.store import BEFORE
from insula.domain.volume import Volume, VolumeState
from insula.protocol.node import GrowReport, VolumeSpec

MAKE_DEADLINE_S = 600.0


def node_volume(volume: Volume) -> VolumeSpec:
    """Everything of the record that the node needs to know."""
    return VolumeSpec(
        id=volume.id,
        project=volume.project,
        name=volume.name,
        size_gib=volume.size_gib,
        file_system=volume.file_system,
        disk_iops=volume.disk_iops,
        disk_mbps=volume.disk_mbps,
    )


def goal(work: Work) -> str:
    """The id of the instance that has the volume in the end, or has had it so far; empty for none."""
    return str(work.params.get("instance_id") or "")


def origin(work: Work) -> str:
    """The id of the instance that had it when the operation was accepted; empty for none."""
    return str(work.params.get("from_instance_id") or "")


async def attach(work: Work, instance_id: str) -> None:
    """Attach it; nothing happens when no instance is named."""
    if instance_id:
        await work.node.attach_volume(work.target_volume.id, instance_id)


async def detach(work: Work, instance_id: str, *, force: bool) -> None:
    """Detach it; nothing happens when no instance is named."""
    if instance_id:
        await work.node.detach_volume(work.target_volume.id, instance_id, force)


async def take_back(work: Work) -> None:
    """The undo of an attachment: nobody can have begun to rely on it."""
    await detach(work, goal(work), force=True)


def is_forced(work: Work) -> bool:
    """Whether it is detached though its guest uses it."""
    return bool(work.params.get("force"))


def settled(work: Work) -> Ending:
    """The ending of what leaves it where it is."""
    return Ending({"state": VolumeState.ATTACHED if goal(work) else VolumeState.AVAILABLE})


def back(work: Work, failure: Failure) -> Ending:
    """The common ending of a failure: as before when it was undone, else FAILED with the reason."""
    if not failure.undone:
        return Ending({"state": VolumeState.FAILED, "problem": str(failure.error)})
    return Ending({"state": VolumeState(work.params[BEFORE]), "instance_id": origin(work) or None})


def with_fields(ending: Ending, **fields: object) -> Ending:
    """The same ending with further fields of the record."""
    return replace(ending, fields={**ending.fields, **fields})


def grow_facts(report: GrowReport) -> dict[str, object]:
    """What a guest made of a disk that grew, as plain values."""
    return {"grown": list(report.grown), "todo": report.todo}

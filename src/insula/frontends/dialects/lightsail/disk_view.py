"""Disks: our volumes."""

from __future__ import annotations

from typing import Any

from insula.domain.volume import Volume, VolumeState
from insula.frontends.dialects.lightsail import tags
from insula.frontends.dialects.lightsail.resource import DISK, Named, head, where_of

_S = VolumeState
_STATES = {_S.CREATING: "pending", _S.ATTACHING: "pending", _S.DETACHING: "pending", _S.FAILED: "error"}


def view(found: Named[Volume], holder: str) -> dict[str, Any]:
    """`holder` is the name of the instance that it is attached to, empty for none.

    Its path is the one that it was attached by, as a client expects; in the guest it is found by its name.
    """
    volume = found.thing
    shown = head(DISK, found, where_of(found.alias), volume.created_at) | {
        "tags": tags.views(volume.tags, found.alias.facts),
        "addOns": [],
        "sizeInGb": volume.size_gib,
        "isSystemDisk": False,
        "iops": volume.disk_iops,
        "state": _STATES.get(volume.state, "in-use" if holder else "available"),
        "isAttached": bool(holder),
        "attachmentState": "attached" if holder else "detached",
    }
    if holder:
        shown |= {"attachedTo": holder, "path": found.alias.facts.get("path", "")}
    return shown

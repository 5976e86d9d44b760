"""Warns before the disk is full that instances and volumes lie on, when there is still time to do something."""

from __future__ import annotations

import asyncio
from pathlib import Path

from insula.base.log import get_logger
from insula.domain.capacity import DiskRoom, disk_room
from insula.node.agent.host import disk_usage

TODO = "Free space there, or set INSULA_HOME to a folder on a larger disk"
_LOOK_S = 10.0
_GIB = 1024**3
_WORDS = {
    DiskRoom.LOW: "the host's disk fills up",
    DiskRoom.SHORT: "the host's disk is almost full; guests that write stand still when it is",
}

_log = get_logger(__name__)


async def watch(folder: Path) -> None:
    """Say once in the log when room becomes low, when it becomes short, and when there is enough again. Never ends."""
    known = DiskRoom.ENOUGH
    while True:
        _, _, free_bytes = await asyncio.to_thread(disk_usage, folder)
        free_gib = free_bytes / _GIB
        if (room := disk_room(free_gib)) is not known:
            if room is DiskRoom.ENOUGH:
                _log.info("the host's disk has room again", folder=str(folder), free_gib=round(free_gib, 1))
            else:
                _log.warning(_WORDS[room], folder=str(folder), free_gib=round(free_gib, 1), todo=TODO)
            known = room
        await asyncio.sleep(_LOOK_S)

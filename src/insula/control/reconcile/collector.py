"""Removes the data of deleted images once nothing uses it.

A deleted image gets no new users, so one that was found unused stays so. First the node's files go, then the record:
killed in between, the next look does both again.
"""

from __future__ import annotations

import asyncio

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.control.nodes import Nodes
from insula.control.store import Store

log = get_logger(__name__)

_LOOK_EVERY_S = 60.0


class Collector:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            try:
                await self.look()
            except InsulaError as error:
                log.warning("deleted images cannot be looked after now", error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Remove what nothing uses, once. Raises what the store raises when it is away."""
        for doomed in await self._store.images.unused():
            try:
                # The node refuses as well while one of its disks is based on it.
                await self._nodes.get(doomed.node).delete_image(doomed.id)
            except InsulaError as error:
                log.warning("a deleted image cannot be removed yet", image_id=doomed.id, error=str(error))
                continue
            await self._store.images.forget(doomed.id)
            log.info("a deleted image is gone", image_id=doomed.id)

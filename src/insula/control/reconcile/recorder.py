"""Has nodes measure what they and their instances use, and keeps it as history."""

from __future__ import annotations

import asyncio
import time

from insula.base.clock import monotonic_s
from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.control.nodes import Nodes
from insula.control.store import Histories, Store
from insula.domain.history import MEASURED_EVERY_S, node_subject

_FLUSH_EVERY = 6
_PRUNE_EVERY = 60

_log = get_logger(__name__)


class Recorder:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, nodes: Nodes, histories: Histories) -> None:
        self._store = store
        self._nodes = nodes
        self._histories = histories

    async def run(self) -> None:
        """Measure every ten seconds until cancelled. Raises what the store raises when it is away."""
        looks = 0
        next_s = monotonic_s()
        while True:
            await self.look()
            if looks % _FLUSH_EVERY == 0:
                await self._histories.flush()
            if looks % _PRUNE_EVERY == 0:
                await self.prune()
            looks += 1
            # What a look takes does not put off the next one; those that were missed are not made up for.
            next_s = max(next_s + MEASURED_EVERY_S, monotonic_s())
            await asyncio.sleep(next_s - monotonic_s())

    async def look(self) -> None:
        """Measure once. A node that does not answer leaves a gap."""
        projects = {instance.id: instance.project for instance in await self._store.instances.all()}
        for node in self._nodes.names():
            try:
                found = await self._nodes.get(node).measure()
            except InsulaError as error:
                _log.warning("nothing can be measured", node=node, error=str(error))
                continue
            now_s = time.time()
            self._histories.note(node_subject(node), "", found.host, now_s)
            for instance_id, reading in found.instances.items():
                # A guest that waits for somebody to ask for it is nobody's yet.
                if instance_id in projects:
                    self._histories.note(instance_id, projects[instance_id], reading, now_s)

    async def prune(self) -> None:
        """Forget what is older than it is kept."""
        instances = {instance.id for instance in await self._store.instances.all()}
        nodes = {node_subject(name) for name in self._nodes.names()}
        await self._histories.prune(instances | nodes, time.time(), monotonic_s())

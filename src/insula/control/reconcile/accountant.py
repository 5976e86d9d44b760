"""Notes what instances send and receive, so that a crash of the host loses a minute of it at most."""

from __future__ import annotations

import asyncio

from insula.control.nodes import Nodes, account
from insula.control.store import Store

_READ_EVERY_S = 60.0


class Accountant:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes

    async def run(self) -> None:
        """Read all counters now and then until cancelled. Raises what the store raises when it is away."""
        while True:
            await asyncio.sleep(_READ_EVERY_S)
            await account(self._store, self._nodes, await self._store.instances.all())

"""Keeps networks as they are recorded: renamed, resized and tagged instances, and those that went."""

from __future__ import annotations

import asyncio

from insula.base.clock import monotonic_s
from insula.control.nodes import Spaces
from insula.control.store import Store

_LOOK_EVERY_S = 0.5
_TELL_EVERY_S = 15.0  # also when nothing has changed: a node may have refused, and empty networks go some day


class Connector:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, spaces: Spaces) -> None:
        self._store = store
        self._spaces = spaces

    async def run(self) -> None:
        """Watch all records until cancelled. Raises what the store raises when it is away."""
        version, told_at_s = -1, 0.0
        while True:
            newest = self._store.instances.version()
            if newest != version or monotonic_s() - told_at_s > _TELL_EVERY_S:
                await self._spaces.tell_all()
                version, told_at_s = newest, monotonic_s()
            await asyncio.sleep(_LOOK_EVERY_S)

"""Keeps the records true: what nodes observe, without anybody having asked for it, is written down.

Crashes, restarts and shutdowns from inside, a host that came back. The node itself restores the power that was wanted,
since it must do so with control down. An operation is never disturbed: while one works on an instance, and when the
record has changed since it was read, an observation is dropped, and the next look decides.
"""

from __future__ import annotations

import asyncio

from insula.base.errors import InsulaError
from insula.base.log import get_logger
from insula.control.nodes import Nodes
from insula.control.reconcile.judge import judge
from insula.control.store import Store

log = get_logger(__name__)

_LOOK_EVERY_S = 10.0
_SETTLE_S = 0.05  # several changes at once are one look
_AGAIN_S = 1.0


class Reconciler:
    """One per controller; :meth:`run` it as a task."""

    def __init__(self, store: Store, nodes: Nodes) -> None:
        self._store = store
        self._nodes = nodes
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Watch all nodes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._nodes.names():
                bell = asyncio.Event()
                group.create_task(self._listen(name, bell))
                group.create_task(self._look_when_rung(name, bell))

    async def look(self, name: str) -> None:
        """Compare a node's instances with their records once. Raises what the node or the store raises."""
        # The records first: a report that is older than its record would undo what an operation has just done.
        records = [record for record in await self._store.instances.all() if record.node == name]
        busy = {one for operation in await self._store.operations.active() for one in operation.works_on}
        reports = {report.id: report for report in await self._nodes.get(name).observe()}
        for record in records:
            report = reports.pop(record.id, None)
            if record.id in busy:
                continue
            changes = judge(record, report)
            if changes and await self._store.instances.note(record, **changes):
                log.info(
                    "instance changed by itself",
                    instance_id=record.id,
                    before=record.state,
                    after=changes.get("state", record.state),
                    problem=changes.get("problem", ""),
                )
        self._tell_unknown(name, frozenset(reports) - busy)

    def _tell_unknown(self, name: str, ids: frozenset[str]) -> None:
        for instance_id in ids - self._unknown:
            log.warning(
                "a node has an instance without a record; it is left alone, see `insula doctor`",
                node=name,
                instance_id=instance_id,
            )
        self._unknown = set(ids)

    async def _listen(self, name: str, bell: asyncio.Event) -> None:
        while True:
            try:
                async for _ in self._nodes.get(name).watch():
                    bell.set()
            except InsulaError as error:
                log.warning("a node cannot be watched now", node=name, error=str(error))
            await asyncio.sleep(_AGAIN_S)

    async def _look_when_rung(self, name: str, bell: asyncio.Event) -> None:
        while True:
            try:
                await self.look(name)
            except InsulaError as error:
                log.warning("a node cannot be looked at now", node=name, error=str(error))
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await bell.wait()
                await asyncio.sleep(_SETTLE_S)
            except TimeoutError:
                pass  # time for a look without an occasion
            bell.clear()

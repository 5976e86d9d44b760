"""The engine: takes accepted operations, runs them durably, tells how they go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from insula.base.clock import monotonic_s, now_utc
from insula.base.errors import InsulaError, Unavailable
from insula.base.log import get_logger
from insula.control.nodes import Nodes, Spaces
from insula.control.operations.engine.hub import Hub
from insula.control.operations.engine.journal import Journal
from insula.control.operations.engine.lanes import BOOT, IMAGE, Lanes
from insula.control.operations.engine.ledger import Ledger
from insula.control.operations.engine.runner import RetryPolicy, Room, Runner, Running, StepClock, store_end
from insula.control.operations.engine.table import Tables, Work
from insula.control.operations.retry import retry
from insula.control.scheduler import Scheduler
from insula.control.store import AuditLine, Completion, Store
from insula.domain.operation import Operation, OperationEvent, OperationState

log = get_logger(__name__)

_LOOK_SOON_S = 2.0
_LOOK_AFTER_EVERY_S = 30.0
_MOST_BREAKS = 3
_PRUNE_EVERY_S = 3600.0
_LEDGER_KEPT_S = 24 * 3600.0


@dataclass(frozen=True)
class EngineOptions:
    """`widths` bounds heavy work: image builds and boots at once. `undo` is how stubbornly an undo is tried."""

    widths: Mapping[str, int] = field(default_factory=lambda: {IMAGE: 1, BOOT: 4})
    undo: RetryPolicy = field(default_factory=RetryPolicy)


class Engine:
    """Runs operations. Make one with :func:`insula.control.operations.start_engine`, and :meth:`close` it."""

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        spaces: Spaces,
        scheduler: Scheduler,
        *,
        ledger: Ledger,
        tables: Tables,
        options: EngineOptions,
    ) -> None:
        self._scheduler = scheduler
        self._hub = Hub(store)
        self._room = Room(store, nodes, spaces, ledger, self._hub, Lanes(options.widths), tables, options.undo)
        self._running: dict[str, Running] = {}
        self._breaks: Counter[str] = Counter()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier process left, and look after it from now on."""
        await self._room.ledger.open(self._run)
        await self._resume()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Cut off what runs; it goes on at the next start."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._room.ledger.close()

    async def submit(self, operation_id: str) -> None:
        """Begin an accepted operation. Repeatable; a failure to begin is made good within seconds."""
        await self._room.ledger.begin(operation_id)

    async def cancel(self, project: str, operation_id: str) -> Operation:
        """Ask an operation to end and undo itself. Repeatable; one that is final stays as it is.

        Raises :class:`NotFound`, and :class:`Conflict` when it cannot be cancelled any more.
        """
        operation = await self._room.store.operations.request_cancel(project, operation_id)
        running = self._running.get(operation_id)
        if running is not None and not operation.state.is_final:
            running.cancel()
        return operation

    async def retry(
        self, project: str, operation_id: str, requested_by: str, audit: AuditLine | None = None
    ) -> Operation:
        """Accept and begin a failed, cancelled or stuck operation once more, as a new one.

        Raises :class:`NotFound`, :class:`CapacityExceeded`, and :class:`Conflict` unless it can be retried.
        """
        old = await self._room.store.operations.get(project, operation_id)
        new = await retry(self._room.store, self._scheduler, old, requested_by, audit)
        await self.submit(new.id)
        return new

    def subscribe(self, operation_id: str, after: int = 0) -> AsyncIterator[OperationEvent]:
        """Its events above the sequence `after`: stored ones, then live ones, until its final state."""
        return self._hub.follow(operation_id, after)

    def version(self) -> int:
        """Grows with every event of any operation that runs here."""
        return self._hub.version

    @property
    def running(self) -> frozenset[str]:
        """The ids of the operations that run in this process."""
        return frozenset(self._running)

    async def _run(self, operation_id: str, undo_only: bool) -> None:
        if operation_id in self._running:
            return
        # Registered before the record is read, so that a cancel in between is seen here or there.
        running = self._running[operation_id] = Running()
        self._hub.begin(operation_id)
        try:
            operation = await self._room.store.operations.find(operation_id)
            if operation is None or operation.state.is_final:
                return
            running.cancelled = running.cancelled or operation.cancel_requested
            runner = await self._prepare(operation, running)
            await runner.run(undo_only)
        except Unavailable:
            raise  # taken up again when the database is back
        except Exception as error:
            await self._count_break(operation_id, error)
            raise
        finally:
            self._running.pop(operation_id, None)
            self._hub.end(operation_id)

    async def _prepare(self, operation: Operation, running: Running) -> Runner:
        store = self._room.store
        names = [step.name for step in self._room.tables[operation.verb].steps]
        is_new = operation.state is OperationState.QUEUED  # the first event is stored together with the next state
        last = 0 if is_new else await store.operations.last_sequence(operation.id)
        journal = Journal(store, self._hub, operation, names, last)
        target, noun = operation.target, operation.verb.noun
        instance = await store.instances.find(target)
        volume = await store.volumes.find(target) if noun == "volume" else None
        snapshot = await store.snapshots.find(target) if noun == "snapshot" else None
        backup = await store.backups.find(target) if noun == "backup" else None
        backup_store = await store.backup_stores.find(target) if noun == "store" else None
        owner = instance or volume or snapshot or backup or backup_store
        node = self._room.nodes.get(owner.node if owner else self._image_node(operation))
        work = Work(
            *(operation, instance, node, self._room.spaces, journal, self._room.lanes, StepClock()),
            volume=volume,
            snapshot=snapshot,
            backup=backup,
            store=backup_store,
        )
        return Runner(self._room, operation, work, journal, running)

    async def _count_break(self, operation_id: str, error: Exception) -> None:
        # The runner itself broke, not a step. It is tried again from the start; one that breaks each time is a defect,
        # and its target must not stay busy for ever.
        self._breaks[operation_id] += 1
        log.error("a run broke", exc_info=error, operation_id=operation_id, times=self._breaks[operation_id])
        if self._breaks[operation_id] < _MOST_BREAKS:
            return
        operation = await self._room.store.operations.find(operation_id)
        if operation is None:
            return
        broken = InsulaError(
            f"The operation on {operation.target_name} broke",
            why=f"{type(error).__name__}: {error}",
            todo="This is a defect in Insula; please report it. Clean up with `insula doctor --repair`",
        )
        sequence = await self._room.store.operations.last_sequence(operation_id) + 1
        data = {"state": OperationState.STUCK.value}
        event = OperationEvent(sequence, operation_id, now_utc(), "state", "", str(broken), data=data)
        end = Completion(operation_id, OperationState.STUCK, operation.steps, [event], error=broken.to_dict())
        await store_end(self._room.store, end)
        del self._breaks[operation_id]

    def _image_node(self, operation: Operation) -> str:
        return str(operation.params.get("node") or self._room.nodes.names()[0])

    async def _resume(self) -> None:
        # The ledger takes up by itself what it knows. What was accepted but never begun, and runs that broke, are ours.
        waiting = [found for found in await self._room.store.operations.active() if found.id not in self._running]
        if not waiting:
            await self._room.ledger.settle()
        for operation in waiting:
            if operation.id not in self._running:
                await self._room.ledger.again(operation.id, operation.state is OperationState.UNDOING)

    async def _keep(self) -> None:
        pruned_at_s = monotonic_s()
        wait_s = _LOOK_SOON_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self._resume()
                wait_s = _LOOK_AFTER_EVERY_S
                if monotonic_s() - pruned_at_s > _PRUNE_EVERY_S:
                    await self._room.ledger.prune(_LEDGER_KEPT_S)
                    pruned_at_s = monotonic_s()
            except InsulaError as error:
                log.warning("operations cannot be looked after now", error=str(error))

"""Runs one operation: its steps forward, and back when one fails or the user cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from insula.base.clock import monotonic_s
from insula.base.errors import Cancelled, GuestFailure, HostFailure, InsulaError, Unavailable, from_dict
from insula.base.log import get_logger
from insula.control.nodes import Nodes, Spaces
from insula.control.operations.engine.hub import Hub
from insula.control.operations.engine.journal import Journal
from insula.control.operations.engine.lanes import Lanes
from insula.control.operations.engine.ledger import Ledger, Outcome
from insula.control.operations.engine.table import Do, Ending, Failure, Step, Table, Tables, Work
from insula.control.store import Completion, Store
from insula.domain.operation import Operation, OperationState, StepState

log = get_logger(__name__)

# Quick steps share a write; long ones show within the blink of an eye that they began.
_FIRST_FLUSH_S = 0.05
_FLUSH_EVERY_S = 0.5
_UNDO_DEADLINE_S = 300.0
_STORE_RETRY_S = 1.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often an undo that fails is tried, and how long it waits in between: doubled each time."""

    tries: int = 5
    first_wait_s: float = 1.0


class StepClock:
    """The deadline of the running step; implements :class:`Deadline`."""

    def __init__(self) -> None:
        self._left_s = 0.0
        self._since_s: float | None = None

    def begin(self, deadline_s: float) -> None:
        self._left_s = deadline_s
        self._since_s = monotonic_s()

    def pause(self) -> None:
        self._left_s = self.left_s
        self._since_s = None

    def resume(self) -> None:
        self._since_s = monotonic_s()

    @property
    def left_s(self) -> float:
        return self._left_s if self._since_s is None else self._left_s - (monotonic_s() - self._since_s)


class Running:
    """An operation that runs here; what :meth:`cancel` needs to know of it."""

    def __init__(self) -> None:
        self.cancelled = False
        self.task: asyncio.Task[Any] | None = None  # the step's own, while it may be cut off

    def cancel(self) -> None:
        """Ask it to end: at once in a step that can be cut off, else before the next one."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


@dataclass(frozen=True)
class Room:
    """Everything that a runner needs from outside."""

    store: Store
    nodes: Nodes
    spaces: Spaces
    ledger: Ledger
    hub: Hub
    lanes: Lanes
    tables: Tables
    retry: RetryPolicy


class Runner:
    """One run of one operation. Its body is repeated after a restart, with remembered outcomes; so all that has an
    effect happens inside of steps, except for the end, which the store takes only once."""

    def __init__(self, room: Room, operation: Operation, work: Work, journal: Journal, running: Running) -> None:
        self._room = room
        self._operation = operation
        self._table: Table = room.tables[operation.verb]
        self._work = work
        self._journal = journal
        self._running = running

    async def run(self, undo_only: bool) -> None:
        """To the end: afterwards the operation is final."""
        done, failed = (self._left_done(), _interrupted()) if undo_only else await self._forward()
        if failed is None:
            await self._finish(OperationState.SUCCEEDED, self._table.succeeded(self._work), None)
            return
        step, error = failed
        log.info("operation failed", operation_id=self._operation.id, step=step.name if step else "", code=error.code)
        await self._backward(done, step, error)

    async def _forward(self) -> tuple[list[Step], tuple[Step | None, InsulaError] | None]:
        done: list[Step] = []
        for step in self._table.steps:
            outcome = await self._room.ledger.step(f"do {step.name}", partial(self._do, step))
            if "error" in outcome and not outcome["begun"]:
                return done, (None, from_dict(outcome["error"]))
            if "error" in outcome:
                self._journal.note(step.name, StepState.FAILED, outcome["took_ms"])
                return done, (step, from_dict(outcome["error"]))
            self._journal.note(step.name, StepState.DONE, outcome["took_ms"])
            self._work.facts.update(outcome["facts"])
            done.append(step)
        return done, None

    async def _backward(self, done: Sequence[Step], failed: Step | None, error: InsulaError) -> None:
        is_cancelled = isinstance(error, Cancelled)
        name = failed.name if failed else ""
        # What a final step has begun cannot be taken back, nor may what came before it.
        ruled_out = (failed is not None and failed.final) or any(step.final for step in done)
        if ruled_out or (not is_cancelled and self._table.keep(self._work, error)):
            ending = self._table.failed(self._work, Failure(name, error, undone=False))
            await self._finish(OperationState.FAILED, ending, error)
            return
        for step in reversed([*done, failed] if failed else done):
            if step.undo is None:
                continue
            outcome = await self._room.ledger.step(f"undo {step.name}", partial(self._undo, step, step.undo))
            if "error" in outcome:
                stuck = from_dict(outcome["error"])
                ending = self._table.failed(self._work, Failure(name, _stuck_error(error, step, stuck), undone=False))
                await self._finish(OperationState.STUCK, ending, _stuck_error(error, step, stuck))
                return
            self._journal.note(step.name, StepState.UNDONE)
        state = OperationState.CANCELLED if is_cancelled else OperationState.FAILED
        await self._finish(state, self._table.failed(self._work, Failure(name, error, undone=True)), error)

    def _left_done(self) -> list[Step]:
        begun = {report.name for report in self._operation.steps if report.state is not StepState.PENDING}
        return [step for step in self._table.steps if step.name in begun]

    async def _do(self, step: Step) -> Outcome:
        started_s = monotonic_s()
        if self._running.cancelled:
            return {"error": _cancelled(self._operation).to_dict(), "took_ms": 0, "begun": False}
        self._journal.step(step.name, StepState.RUNNING)
        facts, error = await self._attempt(step, step.do, step.deadline_s, may_cancel=not step.final)
        took_ms = round(1000 * (monotonic_s() - started_s))
        if error is not None:
            self._journal.step(step.name, StepState.FAILED, took_ms, f"{step.name}: {error.what}")
            return {"error": error.to_dict(), "took_ms": took_ms, "begun": True}
        self._journal.step(step.name, StepState.DONE, took_ms)
        return {"facts": dict(facts), "took_ms": took_ms}

    async def _undo(self, step: Step, undo: Do) -> Outcome:
        wait_s = self._room.retry.first_wait_s
        for attempt in range(1, self._room.retry.tries + 1):
            # Before anything is undone: were the ledger lost now, the record would tell what is left to undo.
            self._journal.state = OperationState.UNDOING
            await self._journal.flush()
            _, error = await self._attempt(step, undo, _UNDO_DEADLINE_S, may_cancel=False)
            if error is None:
                self._journal.step(step.name, StepState.UNDONE)
                return {}
            log.warning("undo failed", operation_id=self._operation.id, step=step.name, attempt=attempt, why=str(error))
            if attempt == self._room.retry.tries:
                return {"error": error.to_dict()}
            await asyncio.sleep(wait_s)
            wait_s *= 2
        raise AssertionError("unreachable: the last attempt returns")

    async def _attempt(
        self, step: Step, do: Do, deadline_s: float, *, may_cancel: bool
    ) -> tuple[Mapping[str, Any], InsulaError | None]:
        clock = self._work.deadline
        assert isinstance(clock, StepClock)  # noqa: S101 - made together with this runner
        clock.begin(deadline_s)
        task: asyncio.Task[Mapping[str, Any] | None] = asyncio.ensure_future(_call(do, self._work))
        self._running.task = task if may_cancel else None
        try:
            is_late = await self._watch(task, clock)
        finally:
            self._running.task = None
            await _end(task)
        if not task.cancelled():
            return _result(task, step)
        if is_late:
            return {}, _too_late(step, deadline_s)
        return {}, _cancelled(self._operation)

    async def _watch(self, task: asyncio.Task[Any], clock: StepClock) -> bool:
        """Wait for the step, storing its progress meanwhile; True when its deadline ended it."""
        flush_s = _FIRST_FLUSH_S
        while not task.done():
            await asyncio.wait({task}, timeout=max(0.0, min(flush_s, clock.left_s)))
            flush_s = _FLUSH_EVERY_S
            if not task.done() and clock.left_s <= 0:
                return True
            if self._journal.is_pending and not task.done():
                await self._journal.flush()
        return False

    async def _finish(self, state: OperationState, ending: Ending, error: InsulaError | None) -> None:
        final = self._journal.final(state, str(error) if error else f"{self._operation.target_name}: {state}")
        events = [*self._journal.take(), final]
        end = Completion(
            operation_id=self._operation.id,
            state=state,
            steps=self._journal.steps,
            events=events,
            error=error.to_dict() if error else None,
            result=ending.result,
            target=self._operation.target,
            fields=ending.fields,
            remove=ending.remove,
            others=ending.others,
        )
        await store_end(self._room.store, end)
        self._room.hub.publish(final)


async def store_end(store: Store, end: Completion) -> None:
    """Store an operation's end, however long the database is away: nothing else may begin on its target before."""
    while True:
        try:
            await store.finish(end)
            return
        except Unavailable as away:
            log.warning("end of an operation is not stored yet", operation_id=end.operation_id, error=str(away))
            await asyncio.sleep(_STORE_RETRY_S)


async def _call(do: Do, work: Work) -> Mapping[str, Any] | None:
    return await do(work)


async def _end(task: asyncio.Task[Any]) -> None:
    # Also when we are cut off ourselves: the step must have ended before anything else happens.
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


def _result(task: asyncio.Task[Any], step: Step) -> tuple[Mapping[str, Any], InsulaError | None]:
    error = task.exception()
    if error is None:
        return task.result() or {}, None
    if isinstance(error, InsulaError):
        return {}, error
    if not isinstance(error, Exception):
        raise error
    # A defect in a step must not leave half an operation behind: it is undone like any failure.
    log.error("a step broke", exc_info=error, step=step.name)
    broken = InsulaError(
        f"Step {step.name} broke",
        why=f"{type(error).__name__}: {error}",
        todo="This is a defect in Insula; please report it with the service's log",
    )
    return {}, broken


def _interrupted() -> tuple[None, InsulaError]:
    error = HostFailure(
        "The operation was interrupted while it was being undone",
        why="The service ended, and its ledger of steps did not outlive it",
        todo="Start the operation again",
        code="interrupted",
    )
    return None, error


def _cancelled(operation: Operation) -> Cancelled:
    return Cancelled(
        f"The operation on {operation.target_name} was cancelled",
        why="Somebody asked for it",
        todo="Everything is as before; start it again when you like",
    )


def _too_late(step: Step, deadline_s: float) -> GuestFailure:
    return GuestFailure(
        f"Step {step.name} did not end in time",
        why=f"It had {deadline_s:g} s",
        todo="Try again; look at the host's load with `insula doctor`",
        code="step-timeout",
    )


def _stuck_error(error: InsulaError, step: Step, stuck: InsulaError) -> InsulaError:
    data = error.to_dict()
    left = f"Undoing step {step.name} failed too: {stuck}"
    todo = "Delete it, or clean up with `insula doctor --repair`"
    return from_dict({**data, "why": f"{data['why'].rstrip('.')}. {left}".lstrip(". "), "todo": todo})

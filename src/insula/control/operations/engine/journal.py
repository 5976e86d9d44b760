"""What one running operation tells: its steps' states and its events, to listeners at once and to the store soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insula.base.clock import monotonic_s, now_utc
from insula.base.errors import Unavailable
from insula.base.log import get_logger
from insula.control.operations.engine.hub import Hub
from insula.control.store import Store
from insula.domain.instance import BootPhase
from insula.domain.operation import Operation, OperationEvent, OperationState, StepReport, StepState

log = get_logger(__name__)

_PROGRESS_EVERY_S = 0.25
# Listeners may have seen events that a kill kept from the store; new ones must not reuse their sequences.
_SEQUENCE_GAP = 1000


class Journal:
    """Collects events; :meth:`flush` writes them. One per run of an operation."""

    def __init__(self, store: Store, hub: Hub, operation: Operation, step_names: Sequence[str], last: int) -> None:
        self._store = store
        self._hub = hub
        self._id = operation.id
        known = {report.name: report for report in operation.steps}
        self._steps = {name: known.get(name, StepReport(name, StepState.PENDING)) for name in step_names}
        self._sequence = last + _SEQUENCE_GAP if last else 0
        self._pending: list[OperationEvent] = []
        self.state = OperationState.RUNNING
        self._step = ""
        self._progress_at_s = 0.0
        self._progress_percent = -1

    @property
    def steps(self) -> tuple[StepReport, ...]:
        """All steps as they are now."""
        return tuple(self._steps.values())

    @property
    def is_pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._pending)

    def note(self, name: str, state: StepState, took_ms: int = 0) -> None:
        """Set a step's state without telling: it was told before a restart."""
        self._steps[name] = StepReport(name, state, took_ms)

    def step(self, name: str, state: StepState, took_ms: int = 0, message: str = "") -> None:
        """Set and tell a step's state."""
        self._step = name
        self.note(name, state, took_ms)
        self.emit("step", message or f"{name}: {state}", data={"state": state.value, "took_ms": took_ms})

    def progress(self, message: str, percent: int = -1) -> None:
        """Tell how the step goes on; at most a few times a second, except for its end."""
        now_s = monotonic_s()
        is_end = percent == 100 and self._progress_percent != 100
        if now_s - self._progress_at_s < _PROGRESS_EVERY_S and not is_end:
            return
        self._progress_at_s, self._progress_percent = now_s, percent
        self.emit("progress", message, percent=percent)

    def phase(self, phase: BootPhase) -> None:
        """Tell a phase of a boot."""
        data = {"name": phase.name, "started_ms": phase.started_ms, "took_ms": phase.took_ms}
        self.emit("phase", f"{phase.name} after {phase.started_ms} ms", step=phase.name, data=data)

    def emit(
        self, kind: str, message: str, *, step: str = "", percent: int = -1, data: Mapping[str, Any] | None = None
    ) -> None:
        """Tell something; stored with the next flush. `step` is the running one unless given."""
        event = self._event(kind, message, percent, data, step)
        self._pending.append(event)
        self._hub.publish(event)

    def final(self, state: OperationState, message: str) -> OperationEvent:
        """The last event. It is stored with the final state; publish it after that."""
        return self._event("state", message, -1, {"state": state.value})

    def take(self) -> list[OperationEvent]:
        """Pending events, to be stored by the caller."""
        pending, self._pending = self._pending, []
        return pending

    async def flush(self) -> None:
        """Store the state, the steps and pending events. While the database is away the events stay pending."""
        pending = self.take()
        try:
            await self._store.operations.record(self._id, pending, steps=self.steps, state=self.state)
        except Unavailable as error:
            self._pending = pending + self._pending
            log.warning("progress of an operation is not stored yet", operation_id=self._id, error=str(error))
        except BaseException:
            self._pending = pending + self._pending
            raise

    def _event(
        self, kind: str, message: str, percent: int, data: Mapping[str, Any] | None, step: str = ""
    ) -> OperationEvent:
        self._sequence += 1
        return OperationEvent(self._sequence, self._id, now_utc(), kind, step or self._step, message, percent, data)

"""The engine's port to durable execution: what must be true of whatever remembers the steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

Outcome = Mapping[str, Any]
Run = Callable[[str, bool], Awaitable[None]]
"""Runs an operation by id to its end; the flag says that it shall only be undone."""


class Ledger(Protocol):
    """Remembers which steps of which operations are done, through `kill -9` and power cuts.

    A run that was cut off is started again from its beginning, and every step that has an outcome returns it at once
    instead of running. Outcomes are plain JSON values.
    """

    async def open(self, run: Run) -> None:
        """Begin; runs that were cut off earlier go on by themselves."""
        ...

    async def begin(self, operation_id: str) -> None:
        """Run an operation for the first time. Repeatable: nothing happens when it has been begun."""
        ...

    async def again(self, operation_id: str, undo_only: bool) -> None:
        """Run an operation unless a run of it is under way. Repeatable.

        When an earlier run ended (a defect, a ledger that was lost, a table of an older version), a new run starts
        from nothing, which idempotent steps allow; an operation that is final ends it at once.
        """
        ...

    async def settle(self) -> None:
        """All that an earlier process left is taken up: no need to look for more. Repeatable."""
        ...

    async def step(self, name: str, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Inside a run: the remembered outcome, or that of `work`, remembered before this returns."""
        ...

    async def prune(self, older_than_s: float) -> None:
        """Forget runs that ended longer ago."""
        ...

    async def close(self) -> None:
        """Let go; running runs are cut off and go on at the next start."""
        ...

"""What an operation consists of: an ordered table of steps, each with its undo or the reason why it has none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from insula.base.errors import InsulaError
from insula.control.nodes import Spaces
from insula.control.operations.engine.lanes import Lanes
from insula.domain.backup import Backup, BackupStore
from insula.domain.instance import BootPhase, Instance
from insula.domain.operation import Operation, Verb
from insula.domain.snapshot import Snapshot
from insula.domain.volume import Volume
from insula.protocol.node import NodeApi

Facts = Mapping[str, Any]


class Report(Protocol):
    """Where a step tells how it goes on."""

    def progress(self, message: str, percent: int = -1) -> None: ...
    def phase(self, phase: BootPhase) -> None: ...


class Deadline(Protocol):
    """The running step's deadline, which stands still while it waits for its turn."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass
class Work:
    """What the steps of one operation work with.

    `facts` is what earlier steps returned: plain JSON values that outlive a restart. `instance` is the record as it was
    when the operation (or its continuation) began; None for operations on others. So are `volume`,
    `snapshot`, `backup` and `store`, the backup store.
    """

    operation: Operation
    instance: Instance | None
    node: NodeApi
    spaces: Spaces
    report: Report
    lanes: Lanes
    deadline: Deadline
    facts: dict[str, Any] = field(default_factory=dict)
    volume: Volume | None = None
    snapshot: Snapshot | None = None
    backup: Backup | None = None
    store: BackupStore | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        """What the user asked for."""
        return self.operation.params

    @property
    def target(self) -> Instance:
        """The instance, in operations that have one."""
        if self.instance is None:
            raise self._gone("insula list")
        return self.instance

    @property
    def target_volume(self) -> Volume:
        """The volume, in operations that have one."""
        if self.volume is None:
            raise self._gone("insula volume list")
        return self.volume

    @property
    def target_snapshot(self) -> Snapshot:
        """The snapshot, in operations that have one."""
        if self.snapshot is None:
            raise self._gone("insula snapshot list")
        return self.snapshot

    @property
    def target_backup(self) -> Backup:
        """The backup, in operations that have one."""
        if self.backup is None:
            raise self._gone("insula backup list")
        return self.backup

    @property
    def target_store(self) -> BackupStore:
        """The backup store, in operations that have one."""
        if self.store is None:
            raise self._gone("insula backup store list")
        return self.store

    def _gone(self, listing: str) -> InsulaError:
        return InsulaError(
            f"The record of {self.operation.target_name} is gone",
            why="It was removed while an operation worked on it",
            todo=f"Look at `{listing}`; start the operation again if it is there",
        )

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:
        """Wait for a turn in a lane of heavy work; the step's deadline stands still meanwhile."""
        self.deadline.pause()
        async with self.lanes.turn(lane, self.report.progress):
            self.deadline.resume()
            yield


Do = Callable[[Work], Awaitable[Facts | None]]


@dataclass(frozen=True)
class Step:
    """One step. `do` and `undo` may run any number of times with the same result.

    `undo` also runs when `do` failed or was cut off in the middle. Without an undo, `no_undo` says why none is needed
    or possible. A step that is `final` cannot be cancelled, and once it began nothing before it is undone.
    """

    name: str
    do: Do
    undo: Do | None = None
    no_undo: str = ""
    deadline_s: float = 60.0
    final: bool = False

    def __post_init__(self) -> None:
        if (self.undo is None) != bool(self.no_undo):
            raise ValueError(f"step {self.name} needs either an undo or the reason why it has none")


@dataclass(frozen=True)
class Ending:
    """What becomes of the target's record at the end, and the operation's result.

    `others` are further instances by their ids: their fields, or None for a record that goes.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    remove: bool = False
    result: Mapping[str, Any] | None = None
    others: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """How an operation failed: at `step`, with `error`. `undone` is False when its undo failed or was ruled out."""

    step: str
    error: InsulaError
    undone: bool


@dataclass(frozen=True)
class Table:
    """An operation: its verb, its steps in order, and both of its endings.

    `keep` tells whether an operation that failed with this error is left as it is instead of being undone.
    """

    verb: Verb
    steps: tuple[Step, ...]
    succeeded: Callable[[Work], Ending]
    failed: Callable[[Work, Failure], Ending]
    keep: Callable[[Work, InsulaError], bool] = lambda _work, _error: False


Tables = Mapping[Verb, Table]

"""Operations: durable pieces of work with steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from insula.base.clock import now_utc
from insula.domain.ids import Kind, new_id


class OperationState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    UNDOING = "undoing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # undone; the world is as before
    CANCELLED = "cancelled"  # undone on request
    STUCK = "stuck"  # an undo failed for good; `insula doctor --repair` cleans up

    @property
    def is_final(self) -> bool:
        return self not in _ACTIVE


_ACTIVE = frozenset({OperationState.QUEUED, OperationState.RUNNING, OperationState.UNDOING})
ACTIVE_STATES = _ACTIVE


class Verb(StrEnum):
    CREATE_INSTANCE = "create_instance"
    START_INSTANCE = "start_instance"
    STOP_INSTANCE = "stop_instance"
    REBOOT_INSTANCE = "reboot_instance"
    PAUSE_INSTANCE = "pause_instance"
    RESUME_INSTANCE = "resume_instance"
    HIBERNATE_INSTANCE = "hibernate_instance"
    FORK_INSTANCE = "fork_instance"
    RESIZE_INSTANCE = "resize_instance"
    REBUILD_INSTANCE = "rebuild_instance"
    REVERT_INSTANCE = "revert_instance"
    DELETE_INSTANCE = "delete_instance"
    PREPARE_IMAGE = "prepare_image"
    WARM_IMAGE = "warm_image"
    IMPORT_IMAGE = "import_image"
    PUBLISH_IMAGE = "publish_image"
    DELETE_IMAGE = "delete_image"
    CREATE_VOLUME = "create_volume"
    ATTACH_VOLUME = "attach_volume"
    DETACH_VOLUME = "detach_volume"
    GROW_VOLUME = "grow_volume"
    LIMIT_VOLUME = "limit_volume"
    DELETE_VOLUME = "delete_volume"
    CREATE_SNAPSHOT = "create_snapshot"
    DELETE_SNAPSHOT = "delete_snapshot"
    CREATE_BACKUP = "create_backup"
    DELETE_BACKUP = "delete_backup"
    DRILL_BACKUP = "drill_backup"
    CHECK_STORE = "check_store"
    PRUNE_STORE = "prune_store"
    REPAIR_STORE = "repair_store"
    RENAME_INSTANCE = "rename_instance"
    SCHEDULE_BACKUPS = "schedule_backups"
    UNSCHEDULE_BACKUPS = "unschedule_backups"
    ASSIGN_ADDRESS = "assign_address"
    UNASSIGN_ADDRESS = "unassign_address"

    @property
    def noun(self) -> str:
        """What it works on: instance, image, volume, snapshot, backup(s), (backup) store or address."""
        return self.rpartition("_")[2]


AT_ONCE = frozenset(
    {
        *(Verb.RENAME_INSTANCE, Verb.SCHEDULE_BACKUPS, Verb.UNSCHEDULE_BACKUPS),
        *(Verb.ASSIGN_ADDRESS, Verb.UNASSIGN_ADDRESS),
    }
)
"""Verbs that need no durable work: such an operation is over when it is recorded, and tells what was done by whom."""


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


# Parameters that name what it works on as well.
_OTHERS = ("instance_id", "from_instance_id", "snapshot_id", "backup_id", "store_id")


@dataclass(frozen=True)
class StepReport:
    """One step of an operation, as shown to people."""

    name: str
    state: StepState
    took_ms: int = 0


@dataclass(frozen=True)
class Operation:
    """A durable operation. `target` is the id of what it works on (of an image that nobody published: the name)."""

    id: str
    project: str
    verb: Verb
    target: str
    target_name: str
    state: OperationState
    params: Mapping[str, Any]
    requested_by: str
    created_at: datetime
    updated_at: datetime
    steps: tuple[StepReport, ...] = ()
    error: Mapping[str, Any] | None = None  # InsulaError.to_dict()
    result: Mapping[str, Any] | None = None
    cancel_requested: bool = False
    retry_of: str = ""

    @property
    def works_on(self) -> frozenset[str]:
        """Its target and what else it works on, by their ids.

        These are the instances that a fork makes, those that a volume comes to or from, the one that a snapshot or
        image is made of, the snapshot that an instance goes on from or an image is made of, the backup that is
        restored, and the store that it is in. An instance that a backup is made of is worked on for a moment only.
        """
        children = (str(child["id"]) for child in self.params.get("children", ()))
        others = (str(self.params[name]) for name in _OTHERS if self.params.get(name))
        return frozenset((self.target, *children, *others))


def new_operation(
    verb: Verb,
    target: tuple[str, str],
    *,
    project: str,
    requested_by: str,
    params: Mapping[str, Any] | None = None,
    retry_of: str = "",
) -> Operation:
    """A queued operation on `target`, its id and its name."""
    now = now_utc()
    return Operation(
        id=new_id(Kind.OPERATION),
        project=project,
        verb=verb,
        target=target[0],
        target_name=target[1],
        state=OperationState.QUEUED,
        params=dict(params or {}),
        requested_by=requested_by,
        created_at=now,
        updated_at=now,
        retry_of=retry_of,
    )


def done_at_once(
    verb: Verb,
    target: tuple[str, str],
    *,
    project: str,
    requested_by: str,
    params: Mapping[str, Any] | None = None,
) -> Operation:
    """The record of a change that was made already: of one of :data:`AT_ONCE`, or where nothing was left to do."""
    made = new_operation(verb, target, project=project, requested_by=requested_by, params=params)
    return replace(made, state=OperationState.SUCCEEDED)


@dataclass(frozen=True)
class OperationEvent:
    """A line of an operation's progress. `percent` is -1 when unknown; `data` is for programs."""

    sequence: int
    operation_id: str
    at: datetime
    kind: str  # state, step, progress, phase
    step: str
    message: str
    percent: int = -1
    data: Mapping[str, Any] | None = None

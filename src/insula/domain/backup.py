"""Backup stores, and what is known of the backups in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from insula.base.errors import Conflict
from insula.domain.instance import Firmware, MachineType, Resources
from insula.domain.snapshot import Consistency

_GIB = 1 << 30
_NAME_CHARS = 44  # of an instance's name, so that a moment and a number have room behind it


class StoreKind(StrEnum):
    """What a backup store lies in."""

    FOLDER = "folder"  # another disk, or a file server that is mounted
    S3 = "s3"
    SSH = "ssh"


@dataclass(frozen=True)
class StorePlace:
    """Where a backup store is; nothing of it is secret.

    `path` is the folder, or the prefix in the `bucket`. `endpoint` is empty for Amazon's own. `host_key` is the other
    machine's, as in known_hosts without the name.
    """

    kind: StoreKind
    path: str = ""
    endpoint: str = ""
    bucket: str = ""
    region: str = "us-east-1"
    host: str = ""
    port: int = 22
    user: str = ""
    host_key: str = ""


@dataclass(frozen=True)
class Drill:
    """A restore that was tried: it booted without a network, the agent answered, and the command ended with 0.

    `problem` says what failed. `output` and `console` are the last of what the command and the guest printed.
    """

    at: datetime
    passed: bool
    took_ms: int
    command: str = ""
    exit_code: int | None = None
    output: str = ""
    console: str = ""
    problem: str = ""


class StoreState(StrEnum):
    OPENING = "opening"  # it is being added, or that was cut off: it can only be removed
    AVAILABLE = "available"


@dataclass(frozen=True)
class BackupStore:
    """A backup store as control records it; only its node knows what opens it.

    `rate_mib_s` limits what is sent, in MiB a second; 0 is no limit. `deleted_at` is when a backup in it was deleted
    last, `pruned_at` when the room of deleted ones was given back last.
    """

    id: str
    project: str
    name: str
    state: StoreState
    place: StorePlace
    node: str
    created_at: datetime
    updated_at: datetime
    rate_mib_s: int = 0
    deleted_at: datetime | None = None
    pruned_at: datetime | None = None


class BackupState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    FAILED = "failed"  # it cannot be restored; it can only be deleted


_S = BackupState

TRANSITIONS: Mapping[BackupState, frozenset[BackupState]] = {
    _S.CREATING: frozenset({_S.AVAILABLE, _S.FAILED}),
    _S.AVAILABLE: frozenset({_S.DELETING, _S.FAILED}),
    _S.DELETING: frozenset({_S.FAILED}),
    _S.FAILED: frozenset({_S.DELETING}),
}
"""Every legal change of state."""

KEPT_DRILLS = 10
"""So many drills of a backup are recorded, the newest."""


@dataclass(frozen=True)
class Backup:
    """A backup as control records it.

    `instance_id` stays when the instance is gone, or when another host made the backup. `image` to `machine_type` are
    what the instance had then; `plan` is empty where that is not known. `consistency` is None until it is made.
    `size_bytes` is the disk's size, `read_bytes` what was read of it, `added_bytes` what came to the store. `based_on`
    is the backup since which changes were known, empty when all was read. Only `scheduled` ones are deleted by a
    schedule.
    """

    id: str
    project: str
    name: str
    store_id: str
    instance_id: str
    instance_name: str
    state: BackupState
    node: str
    created_at: datetime
    updated_at: datetime
    image: str
    plan: str
    resources: Resources
    firmware: Firmware
    machine_type: MachineType
    consistency: Consistency | None = None
    size_bytes: int = 0
    read_bytes: int = 0
    added_bytes: int = 0
    based_on: str = ""
    scheduled: bool = False
    protected: bool = False
    problem: str = ""  # why it is FAILED
    drills: tuple[Drill, ...] = ()

    @property
    def size_gib(self) -> int:
        """The smallest disk that has room for it."""
        return max(self.resources.disk_gib, -(-self.size_bytes // _GIB))


def free_name(instance: str, at: datetime, taken: Collection[str]) -> str:
    """The instance's name with the moment, and a number if that is taken."""
    stem = f"{instance[:_NAME_CHARS].rstrip('-')}-{at:%Y%m%d-%H%M}"
    others = (f"{stem}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (stem, *others) if name not in taken)


def check_transition(name: str, current: BackupState, wanted: BackupState) -> None:
    """Raise :class:`Conflict` unless a backup may go from `current` to `wanted`."""
    if wanted not in TRANSITIONS[current]:
        raise _wrong_state(name, current, f"become {wanted}")


def check_available(backup: Backup, use: str) -> None:
    """Raise :class:`Conflict` unless it is whole; `use` says what was to be done with it."""
    if backup.state is not BackupState.AVAILABLE:
        raise _wrong_state(backup.name, backup.state, f"be {use}")


def _wrong_state(name: str, current: BackupState, wanted: str) -> Conflict:
    return Conflict(
        f"Backup {name} cannot {wanted} now",
        why=f"It is {current}",
        todo=f"Look at it with `insula backup show {name}` and try again when its state fits",
        code="wrong-state",
    )

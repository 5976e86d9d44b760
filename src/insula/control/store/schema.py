"""The tables. Columns are named like the fields of the domain objects, so that a row *is* an object's arguments.

Nested values are JSON text, written and read with the field's own type, so a value that no longer fits is noticed when
it is read. Moments are whole microseconds since 1970 in UTC: exact, sortable and equal on SQLite and PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from insula.domain.access import Scope
from insula.domain.backup import BackupState, Drill, StorePlace, StoreState
from insula.domain.instance import (
    BootPhase,
    Firmware,
    Instance,
    InstanceState,
    MachineType,
    Platform,
    PortForward,
    Protocol,
    Resources,
    RestartPolicy,
)
from insula.domain.operation import ACTIVE_STATES, OperationState, StepReport, Verb
from insula.domain.port import Port
from insula.domain.published import PublishedState
from insula.domain.retention import Keep
from insula.domain.schedule import Every
from insula.domain.snapshot import Consistency, SnapshotKind, SnapshotState
from insula.domain.volume import FileSystem, VolumeState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
E = TypeVar("E", bound=StrEnum)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC as whole microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Word(TypeDecorator[E], Generic[E]):
    """A member of an enumeration, stored as its text."""

    impl = String(64)
    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value.value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        return None if value is None else self.kind(value)


class Json(TypeDecorator[Any]):
    """A nested value of a known type as JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind
        # Made here, once, while the module is imported: msgspec crashes when two threads look at a type for the first
        # time at the same moment, and rows are read in threads.
        self._decoder = msgspec.json.Decoder(kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else self._decoder.decode(value)


metadata = MetaData()

project = Table(
    "project",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("created_at", Moment, nullable=False),
)

ssh_key = Table(
    "ssh_key",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("fingerprint", String(128), nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("project", "name"),
    UniqueConstraint("project", "fingerprint"),
)

token = Table(
    "token",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("scopes", Json(frozenset[Scope]), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("revoked", Boolean, nullable=False),
    Column("secret_hash", String(255), nullable=False, unique=True),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("subject", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

instance = Table(
    "instance",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("state", Word(InstanceState), nullable=False),
    Column("image", String(63), nullable=False),
    Column("plan", String(63), nullable=False),
    Column("resources", Json(Resources), nullable=False),
    Column("hostname", String(253), nullable=False),
    Column("mac", String(17), nullable=False),
    Column("node", String(253), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("ssh_keys", Json(tuple[str, ...]), nullable=False),
    Column("user_data", Text, nullable=False),
    Column("forwards", Json(tuple[PortForward, ...]), nullable=False),
    Column("tags", Json(tuple[str, ...]), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("firmware", Word(Firmware), nullable=False),
    Column("machine_type", Word(MachineType), nullable=False),
    Column("restart_policy", Word(RestartPolicy), nullable=False),
    Column("boot_phases", Json(tuple[BootPhase, ...]), nullable=False),
    Column("problem", Text, nullable=False),
    Column("started_at", Moment),
    Column("restarts", Integer, nullable=False),
    Column("lease_s", Integer),
    Column("lease_until", Moment),
    Column("snapshot_id", String(40)),
    Column("ports", Json(tuple[Port, ...]), nullable=False),
    Column("platform", Word(Platform), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("region", String(40), nullable=False),
    UniqueConstraint("project", "name"),
)

volume = Table(
    "volume",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("size_gib", Integer, nullable=False),
    Column("file_system", Word(FileSystem), nullable=False),
    Column("state", Word(VolumeState), nullable=False),
    Column("node", String(253), nullable=False),
    Column("instance_id", String(40), ForeignKey("instance.id"), index=True),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("tags", Json(tuple[str, ...]), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("disk_iops", Integer, nullable=False),
    Column("disk_mbps", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    UniqueConstraint("project", "name"),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("instance_id", String(40), nullable=False, index=True),  # which may be gone
    Column("parent_id", String(40), ForeignKey("snapshot.id")),
    Column("kind", Word(SnapshotKind), nullable=False),
    Column("state", Word(SnapshotState), nullable=False),
    Column("node", String(253), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("image", String(63), nullable=False),
    Column("plan", String(63), nullable=False),
    Column("resources", Json(Resources), nullable=False),
    Column("firmware", Word(Firmware), nullable=False),
    Column("machine_type", Word(MachineType), nullable=False),
    Column("consistency", Word(Consistency)),
    Column("size_bytes", BigInteger, nullable=False),
    Column("tags", Json(tuple[str, ...]), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("problem", Text, nullable=False),
    UniqueConstraint("project", "name"),
)

backup_store = Table(
    "backup_store",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("state", Word(StoreState), nullable=False),
    Column("place", Json(StorePlace), nullable=False),
    Column("node", String(253), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("rate_mib_s", Integer, nullable=False),
    Column("deleted_at", Moment),
    Column("pruned_at", Moment),
    UniqueConstraint("project", "name"),
)

backup = Table(
    "backup",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("store_id", String(40), ForeignKey("backup_store.id"), nullable=False, index=True),
    Column("instance_id", String(40), nullable=False, index=True),  # which may be gone, or another host's
    Column("instance_name", String(63), nullable=False),
    Column("state", Word(BackupState), nullable=False),
    Column("node", String(253), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("image", String(63), nullable=False),
    Column("plan", String(63), nullable=False),
    Column("resources", Json(Resources), nullable=False),
    Column("firmware", Word(Firmware), nullable=False),
    Column("machine_type", Word(MachineType), nullable=False),
    Column("consistency", Word(Consistency)),
    Column("size_bytes", BigInteger, nullable=False),
    Column("read_bytes", BigInteger, nullable=False),
    Column("added_bytes", BigInteger, nullable=False),
    Column("based_on", String(40), nullable=False),
    Column("scheduled", Boolean, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("problem", Text, nullable=False),
    Column("drills", Json(tuple[Drill, ...]), nullable=False),
    UniqueConstraint("project", "name"),
)

backup_schedule = Table(
    "backup_schedule",
    metadata,
    Column("instance_id", String(40), ForeignKey("instance.id", ondelete="CASCADE"), primary_key=True),
    Column("project", String(63), ForeignKey("project.name"), nullable=False),
    Column("store_id", String(40), ForeignKey("backup_store.id"), nullable=False),
    Column("every", Word(Every), nullable=False),
    Column("at_minute", Integer, nullable=False),
    Column("keep", Json(Keep), nullable=False),
    Column("drill", Word(Every)),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("next_at", Moment, nullable=False),
    Column("drill_at", Moment),
    Column("operation_id", String(40), nullable=False),
    Column("drill_operation_id", String(40), nullable=False),
    Column("last_at", Moment),
    Column("failures", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Column("drill_problem", Text, nullable=False),
)

image_name = Table(
    "image_name",
    metadata,
    Column("project", String(63), ForeignKey("project.name"), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("last_version", Integer, nullable=False),
    Column("shared_with", Json(tuple[str, ...]), nullable=False),
    Column("shared_with_all", Boolean, nullable=False),
)

image = Table(
    "image",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),  # which may be gone, while others use what it published
    Column("name", String(63), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("state", Word(PublishedState), nullable=False),
    Column("node", String(253), nullable=False),
    Column("base", String(63), nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("deprecated", Boolean, nullable=False),
    Column("problem", Text, nullable=False),
)

port_reservation = Table(
    "port_reservation",
    metadata,
    Column("node", String(253), primary_key=True),
    Column("protocol", Word(Protocol), primary_key=True),
    Column("host_port", Integer, primary_key=True, autoincrement=False),
    Column("instance_id", String(40), ForeignKey("instance.id", ondelete="CASCADE"), nullable=False, index=True),
)

operation = Table(
    "operation",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("verb", Word(Verb), nullable=False),
    Column("target", String(63), nullable=False),
    Column("target_name", String(63), nullable=False),
    Column("state", Word(OperationState), nullable=False),
    Column("params", Json(dict[str, Any]), nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("steps", Json(tuple[StepReport, ...]), nullable=False),
    Column("error", Json(dict[str, Any])),
    Column("result", Json(dict[str, Any])),
    Column("cancel_requested", Boolean, nullable=False),
    Column("retry_of", String(40), nullable=False),
    # The new instance as it was accepted, so that a failed create can be retried; emptied when it succeeded.
    Column("origin", Json(Instance)),
)

_ACTIVE_SQL = text("state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ACTIVE_STATES))))

# Two operations on one target never interleave: the database itself refuses the second.
Index("operation_one_active", operation.c.target, unique=True, sqlite_where=_ACTIVE_SQL, postgresql_where=_ACTIVE_SQL)
Index("operation_by_project", operation.c.project, operation.c.id)

operation_event = Table(
    "operation_event",
    metadata,
    Column("operation_id", String(40), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("step", String(63), nullable=False),
    Column("message", Text, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("data", Json(dict[str, Any])),
)

# Raised in the transaction of every write, so that other controllers notice that their read model is old.
change_counter = Table(
    "change_counter",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

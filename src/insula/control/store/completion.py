"""Ending an operation: its final state and what became of the instance, in one transaction.

Together, so that whoever sees an instance *running* may ask for the next operation at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.control.store.addresses import forget_instance
from insula.control.store.backup_stores import end_store
from insula.control.store.backups import end_backup
from insula.control.store.images import end_image
from insula.control.store.instances import write_fields
from insula.control.store.operations import add_events
from insula.control.store.schema import instance, operation
from insula.control.store.snapshots import end_snapshot
from insula.control.store.volumes import end_volume, release_volumes
from insula.domain.ids import Kind, is_id
from insula.domain.instance import Instance, check_transition
from insula.domain.operation import ACTIVE_STATES, OperationEvent, OperationState, StepReport


@dataclass(frozen=True)
class Completion:
    """How an operation ended. `fields` of its `target` change, or its record goes when `remove`.

    A target is an instance, volume, snapshot, backup, backup store or published image, by its id.

    `others` are the same for further instances by their ids: fields, or None when the record goes.
    """

    operation_id: str
    state: OperationState
    steps: tuple[StepReport, ...]
    events: Sequence[OperationEvent]
    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    target: str = ""
    fields: Mapping[str, Any] | None = None
    remove: bool = False
    others: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)


def complete(connection: Connection, end: Completion) -> bool:
    """Write it, once: False when the operation was final already. Raises Conflict for an illegal state."""
    values: dict[str, Any] = {
        "state": end.state,
        "steps": end.steps,
        "error": end.error,
        "result": end.result,
        "updated_at": now_utc(),
    }
    if end.state is OperationState.SUCCEEDED:
        values["origin"] = None
    open_still = operation.c.state.in_(ACTIVE_STATES)
    change = operation.update().where(operation.c.id == end.operation_id, open_still).values(values)
    if connection.execute(change).rowcount == 0:
        return False
    add_events(connection, end.events)
    target = None if end.remove else end.fields or {}
    for record_id, fields in {**end.others, end.target: target}.items():
        end_record = next((end for kind, end in _ENDS.items() if is_id(record_id, kind)), _end_instance)
        end_record(connection, record_id, fields)
    return True


def _end_instance(connection: Connection, instance_id: str, fields: Mapping[str, Any] | None) -> None:
    if fields is None:
        release_volumes(connection, instance_id)
        forget_instance(connection, instance_id)
        connection.execute(instance.delete().where(instance.c.id == instance_id))
    elif fields:
        _change(connection, instance_id, fields)


_ENDS: Mapping[Kind, Callable[[Connection, str, Mapping[str, Any] | None], None]] = {
    Kind.VOLUME: end_volume,
    Kind.SNAPSHOT: end_snapshot,
    Kind.BACKUP: end_backup,
    Kind.STORE: end_store,
    Kind.IMAGE: end_image,
}


def _change(connection: Connection, instance_id: str, fields: Mapping[str, Any]) -> None:
    row = connection.execute(instance.select().where(instance.c.id == instance_id).with_for_update()).first()
    if row is None:
        return
    found = Instance(**row._mapping)
    if fields.get("state", found.state) is not found.state:
        check_transition(found.name, found.state, fields["state"])
    write_fields(connection, found, fields)

"""Events: our operations, as they are called and shown there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from insula.domain.ids import Kind, is_id
from insula.domain.operation import Operation, OperationState, Verb
from insula.frontends.dialects import history
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, page_of, when
from insula.frontends.dialects.linode.filters import wanted
from insula.frontends.dialects.records import unknown

_ACTIONS: Mapping[Verb, str] = {
    Verb.CREATE_INSTANCE: "linode_create",
    Verb.START_INSTANCE: "linode_boot",
    Verb.STOP_INSTANCE: "linode_shutdown",
    Verb.REBOOT_INSTANCE: "linode_reboot",
    Verb.RESIZE_INSTANCE: "linode_resize",
    Verb.REBUILD_INSTANCE: "linode_rebuild",
    Verb.REVERT_INSTANCE: "backups_restore",
    Verb.FORK_INSTANCE: "linode_clone",
    Verb.RENAME_INSTANCE: "linode_update",
    Verb.DELETE_INSTANCE: "linode_delete",
    Verb.CREATE_SNAPSHOT: "disk_imagize",
    Verb.DELETE_SNAPSHOT: "image_delete",
    Verb.CREATE_BACKUP: "linode_snapshot",
    Verb.SCHEDULE_BACKUPS: "backups_enable",
    Verb.UNSCHEDULE_BACKUPS: "backups_cancel",
    Verb.CREATE_VOLUME: "volume_create",
    Verb.ATTACH_VOLUME: "volume_attach",
    Verb.DETACH_VOLUME: "volume_detach",
    Verb.GROW_VOLUME: "volume_resize",
    Verb.DELETE_VOLUME: "volume_delete",
    Verb.ASSIGN_ADDRESS: "ipaddress_update",
    Verb.UNASSIGN_ADDRESS: "ipaddress_update",
}
_KINDS = (
    (Kind.INSTANCE, "linode", "/v4/linode/instances"),
    (Kind.VOLUME, "volume", "/v4/volumes"),
    (Kind.SNAPSHOT, "image", "/v4/images"),
    (Kind.ADDRESS, "ipaddress", "/v4/networking/ips"),
)
_BOOT = "linode_boot"
_BOOT_RECORD = "boot:"  # before the id of a creation: there, the first boot is an event of its own
_SEEN = "seen_up_to"


@dataclass(frozen=True)
class _Event:
    """An operation, or the boot that is a part of it."""

    operation: Operation
    action: str
    record: str


_Show = Callable[[Sequence[_Event]], Sequence[Mapping[str, Any]]]


def _of(operation: Operation) -> list[_Event]:
    found = [_Event(operation, _ACTIONS.get(operation.verb, operation.verb.value), operation.id)]
    if operation.verb is Verb.CREATE_INSTANCE:
        found.insert(0, _Event(operation, _BOOT, f"{_BOOT_RECORD}{operation.id}"))
    return found


def _status(operation: Operation) -> str:
    if operation.state is OperationState.QUEUED:
        return "scheduled"
    if operation.state is OperationState.SUCCEEDED:
        return "finished"
    return "failed" if operation.state.is_final else "started"


async def _showing(ask: Ask, operations: Sequence[Operation]) -> tuple[Sequence[_Event], _Show]:
    """The events of operations, and what shows some of them."""
    events = [event for operation in operations for event in _of(operation)]
    numbers = await ask.actions.aliases.of(event.record for event in reversed(events))  # the oldest has the lowest
    subjects = await ask.actions.aliases.of(history.subject_of(one) for one in operations)
    seen = await _seen(ask)

    def show(some: Sequence[_Event]) -> Sequence[Mapping[str, Any]]:
        return [
            _view(one, numbers[one.record].number, subjects[history.subject_of(one.operation)].number, seen)
            for one in some
        ]

    return events, show


def _view(event: _Event, number: int, subject: int, seen: str) -> dict[str, Any]:
    operation = event.operation
    is_over = operation.state.is_final
    took_s = (operation.updated_at - operation.created_at).total_seconds()
    return {
        "id": number,
        "action": event.action,
        "created": when(operation.created_at),
        "duration": round(took_s, 3) if is_over else None,
        "entity": _entity(operation, subject),
        "secondary_entity": None,
        "details": None,
        "message": None if operation.error is None else str(operation.error.get("why") or operation.error.get("what")),
        "percent_complete": 100 if is_over else _percent(operation),
        "rate": None,
        "read": _moment(operation) <= seen,
        "seen": _moment(operation) <= seen,
        "status": _status(operation),
        "time_remaining": None,
        "username": operation.requested_by.replace(":", "."),
    }


def _percent(operation: Operation) -> int:
    done = sum(1 for step in operation.steps if step.state == "done")
    return min(99, done * 100 // max(1, len(operation.steps)))


def _entity(operation: Operation, number: int) -> dict[str, Any] | None:
    subject = history.subject_of(operation)
    for kind, word, path in _KINDS:
        if is_id(subject, kind):
            known: int | str = operation.target_name if kind is Kind.ADDRESS else number
            return {"id": known, "label": operation.target_name, "type": word, "url": f"{path}/{known}"}
    return None


def _moment(operation: Operation) -> str:
    """As a text that grows with time."""
    return operation.created_at.astimezone(UTC).isoformat(timespec="microseconds")


async def _seen(ask: Ask) -> str:
    """Up to when events are seen. Their numbers do not grow with time: each gets its own when it is told first."""
    return (await ask.actions.aliases.of_project(ask.caller)).get(_SEEN, "")


@DIALECT.operation("GET", "/account/events", "events.list")
async def list_events(ask: Ask) -> Answer:
    """Newest first. Whoever waits asks for the events of one thing, so that no others need to be looked at."""
    number = wanted(ask.headers.get("x-filter", "")).get("entity.id")
    subject = await ask.actions.aliases.record_of(number) if isinstance(number, int) else ""
    events, show = await _showing(ask, await history.latest(ask, subject))
    return page_of(ask, events, show)


async def _find(ask: Ask) -> tuple[Operation, int]:
    """The operation, and the number of the event that was asked for. Raises NotFound."""
    text = ask.path["event"]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        record = (await ask.actions.aliases.record_of(int(text))).removeprefix(_BOOT_RECORD)
        if is_id(record, Kind.OPERATION):
            return await ask.actions.operations.show(ask.caller, record), int(text)
    raise unknown("event", text)


@DIALECT.operation("GET", "/account/events/{event}", "events.view")
async def get_event(ask: Ask) -> Answer:
    operation, number = await _find(ask)
    events, show = await _showing(ask, [operation])
    return Answer(next(one for one in show(events) if one["id"] == number))


@DIALECT.operation("POST", "/account/events/{event}/seen", "events.mark-seen")
async def mark_seen(ask: Ask) -> Answer:
    """It and all before it."""
    operation, _ = await _find(ask)
    if _moment(operation) > await _seen(ask):
        await ask.actions.aliases.describe_project(ask.caller, {_SEEN: _moment(operation)})
    return nothing()

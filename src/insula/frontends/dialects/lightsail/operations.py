"""Operations: ours, and what was done at once without one, of which a text is kept."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from insula.base.clock import now_utc
from insula.domain.alias import Alias
from insula.domain.ids import Kind, is_id, new_id
from insula.domain.operation import Operation, OperationState, Verb
from insula.frontends.dialects import history
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import regions
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, page, when
from insula.frontends.dialects.lightsail.resource import DISK, INSTANCE, SNAPSHOT, STATIC_IP, everything, missing
from insula.frontends.dialects.records import name_of, of_uuid, uuid_of

_TYPES: Mapping[Verb, str] = {
    Verb.CREATE_INSTANCE: "CreateInstance",
    Verb.START_INSTANCE: "StartInstance",
    Verb.STOP_INSTANCE: "StopInstance",
    Verb.REBOOT_INSTANCE: "RebootInstance",
    Verb.DELETE_INSTANCE: "DeleteInstance",
    Verb.CREATE_VOLUME: "CreateDisk",
    Verb.ATTACH_VOLUME: "AttachDisk",
    Verb.DETACH_VOLUME: "DetachDisk",
    Verb.DELETE_VOLUME: "DeleteDisk",
    Verb.CREATE_SNAPSHOT: "CreateInstanceSnapshot",
    Verb.DELETE_SNAPSHOT: "DeleteInstanceSnapshot",
    Verb.DELETE_BACKUP: "DeleteAutoSnapshot",
    Verb.ASSIGN_ADDRESS: "AttachStaticIp",
    Verb.UNASSIGN_ADDRESS: "DetachStaticIp",
    Verb.SCHEDULE_BACKUPS: "EnableAddOn",
    Verb.UNSCHEDULE_BACKUPS: "DisableAddOn",
}
_KINDS = (
    (Kind.INSTANCE, INSTANCE),
    (Kind.VOLUME, DISK),
    (Kind.SNAPSHOT, SNAPSHOT),
    (Kind.BACKUP, SNAPSHOT),
    (Kind.ADDRESS, STATIC_IP),
)
_DONE = "done:"  # before what a text about something that was done at once is kept with
_LOW = (1 << 64) - 1


async def views(ask: Ask, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of(one.target for one in operations)
    return [_view(one, aliases[one.target]) for one in operations]


async def begun(ask: Ask, *operations: Operation) -> Answer:
    """The answer to what takes a while."""
    return answer(operations=await views(ask, operations))


async def done(ask: Ask, kind: str, name: str, *, of: str, location: Mapping[str, str]) -> dict[str, Any]:
    """The operation `of` something that was done at once to a resource of that kind and name."""
    record = f"{_DONE}{ask.caller.project}:{new_id(Kind.OPERATION)}"
    facts = {"kind": kind, "name": name, "of": of, "location": json.dumps(dict(location))}
    await ask.actions.aliases.note(record, facts | {"at": now_utc().isoformat()})
    return _done_view((await ask.actions.aliases.of([record]))[record], ask.caller.project)


def _view(found: Operation, alias: Alias) -> dict[str, Any]:
    kind = next((word for kind, word in _KINDS if is_id(found.target, kind)), "")
    region = alias.facts.get("region", "")
    shown = {
        "id": uuid_of(found.id),
        "resourceName": _name(found, alias),
        "resourceType": kind,
        "createdAt": when(found.created_at),
        "location": regions.in_region(region) if region else regions.in_zone(alias.facts.get("zone", "")),
        "isTerminal": found.state.is_final,
        "operationDetails": found.target_name,
        "operationType": _type(found),
        "status": _status(found),
        "statusChangedAt": when(found.updated_at),
    }
    if found.error is not None:
        shown |= {"errorCode": found.error.get("code", ""), "errorDetails": found.error.get("what", "")}
    return {name: value for name, value in shown.items() if value is not None and value != ""}


def _status(found: Operation) -> str:
    """One that waits for its turn has been started there: clients wait on from that only."""
    if found.state is OperationState.SUCCEEDED:
        return "Succeeded"
    return "Failed" if found.state.is_final else "Started"


def _type(found: Operation) -> str | None:
    if found.verb is Verb.CREATE_INSTANCE and (found.params.get("snapshot_id") or found.params.get("backup_id")):
        return "CreateInstancesFromSnapshot"
    return _TYPES.get(found.verb)


def _name(found: Operation, alias: Alias) -> str:
    if is_id(found.target, Kind.ADDRESS):  # which has no name with us
        return alias.facts.get("name") or found.target_name
    return name_of(alias, found.target_name)


def _done_view(alias: Alias, project: str) -> dict[str, Any]:
    at = when(datetime.fromisoformat(alias.facts["at"]))
    return {
        "id": str(uuid.UUID(int=_mark(project) << 64 | alias.number)),
        "resourceName": alias.facts["name"],
        "resourceType": alias.facts["kind"],
        "createdAt": at,
        "location": json.loads(alias.facts["location"]),
        "isTerminal": True,
        "operationDetails": alias.facts["name"],
        "operationType": alias.facts["of"],
        "status": "Succeeded",
        "statusChangedAt": at,
    }


def _mark(project: str) -> int:
    """The upper half of ids of what was done at once; the lower half is a number."""
    return int.from_bytes(hashlib.sha256(f"done {project}".encode()).digest()[:8])


async def _done(ask: Ask, operation_id: str) -> dict[str, Any] | None:
    try:
        number = uuid.UUID(operation_id).int
    except ValueError:
        return None
    if number >> 64 != _mark(ask.caller.project):
        return None
    record = await ask.actions.aliases.record_of(number & _LOW & (1 << 62) - 1)
    if not record.startswith(f"{_DONE}{ask.caller.project}:"):
        return None
    # It is about as much as any operation, and whoever may not look at these may not look at it.
    await ask.actions.operations.list(ask.caller, limit=1)
    return _done_view((await ask.actions.aliases.of([record]))[record], ask.caller.project)


class _One(New):
    operation_id: str


class _OfResource(New):
    resource_name: str


@operation("GetOperation")
async def get_operation(ask: Ask) -> Answer:
    wanted = ask.read(_One).operation_id
    if (shown := await _done(ask, wanted)) is not None:
        return answer(operation=shown)
    found = await ask.actions.operations.show(ask.caller, of_uuid(wanted, Kind.OPERATION))
    return answer(operation=(await views(ask, [found]))[0])


@operation("GetOperations")
async def get_operations(ask: Ask) -> Answer:
    return await _listed(ask, "")


@operation("GetOperationsForResource")
async def get_operations_for_resource(ask: Ask) -> Answer:
    name = ask.read(_OfResource).resource_name
    listed = await _listed(ask, name)
    if not listed.body["operations"] and all(one.name != name for one in await everything(ask)):
        raise missing("resource", name)
    return listed


async def _listed(ask: Ask, name: str) -> Answer:
    """Newest first. What was done at once without an operation of ours is not among them."""
    found = [view for view in await views(ask, await history.latest(ask)) if not name or view["resourceName"] == name]
    places = {view["id"]: f"{place:08}" for place, view in enumerate(found)}
    shown, more = page(ask, found, lambda view: places[view["id"]])
    return answer(operations=shown, **more)

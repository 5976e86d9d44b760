"""Actions: our operations, as they are called and shown there."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from insula.domain.ids import Kind, is_id
from insula.domain.operation import Operation, OperationState, Verb
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean import regions
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part, when
from insula.frontends.dialects.history import latest, subject_of
from insula.frontends.dialects.records import numbered, numbers

_TYPES: Mapping[Verb, str] = {
    Verb.CREATE_INSTANCE: "create",
    Verb.START_INSTANCE: "power_on",
    Verb.STOP_INSTANCE: "shutdown",
    Verb.REBOOT_INSTANCE: "reboot",
    Verb.RESIZE_INSTANCE: "resize",
    Verb.REBUILD_INSTANCE: "rebuild",
    Verb.REVERT_INSTANCE: "restore",
    Verb.RENAME_INSTANCE: "rename",
    Verb.DELETE_INSTANCE: "destroy",
    Verb.CREATE_SNAPSHOT: "snapshot",
    Verb.CREATE_BACKUP: "backup",
    Verb.SCHEDULE_BACKUPS: "enable_backups",
    Verb.UNSCHEDULE_BACKUPS: "disable_backups",
    Verb.ATTACH_VOLUME: "attach_volume",
    Verb.DETACH_VOLUME: "detach_volume",
    Verb.GROW_VOLUME: "resize",
    Verb.ASSIGN_ADDRESS: "assign_ip",
    Verb.UNASSIGN_ADDRESS: "unassign_ip",
}
_AT_ONCE_TYPES = {Verb.STOP_INSTANCE: "power_off", Verb.REBOOT_INSTANCE: "power_cycle"}
_KINDS = ((Kind.INSTANCE, "droplet"), (Kind.VOLUME, "volume"), (Kind.ADDRESS, "reserved_ip"), (Kind.IMAGE, "image"))


def type_of(operation: Operation) -> str:
    """The word for what it does."""
    if operation.params.get("graceful_s") == 0 and operation.verb in _AT_ONCE_TYPES:
        return _AT_ONCE_TYPES[operation.verb]
    return _TYPES.get(operation.verb, operation.verb.value)


async def view(ask: Ask, operation: Operation) -> dict[str, Any]:
    return (await views(ask, [operation]))[0]


async def views(ask: Ask, operations: Sequence[Operation]) -> list[dict[str, Any]]:
    subjects = [subject_of(one) for one in operations]
    aliases = await ask.actions.aliases.of([one.id for one in operations])
    droplets = await ask.actions.aliases.of(one for one in subjects if is_id(one, Kind.INSTANCE))
    shown = []
    for operation, subject in zip(operations, subjects, strict=True):
        droplet = droplets.get(subject)
        slug = droplet.facts.get("region", regions.DEFAULT) if droplet is not None else regions.DEFAULT
        number = droplet.number if droplet is not None else _number_of_address(operation)
        shown.append(_view(operation, aliases[operation.id].number, number, slug))
    return shown


def _view(operation: Operation, number: int, resource: int | None, region: str) -> dict[str, Any]:
    kind = next((word for kind, word in _KINDS if is_id(subject_of(operation), kind)), operation.verb.noun)
    return {
        "id": number,
        "status": _status(operation),
        "type": type_of(operation),
        "started_at": when(operation.created_at),
        "completed_at": when(operation.updated_at) if operation.state.is_final else None,
        "resource_id": resource,
        "resource_type": kind,
        "region": regions.view(region),
        "region_slug": region,
    }


def _status(operation: Operation) -> str:
    if operation.state is OperationState.SUCCEEDED:
        return "completed"
    return "errored" if operation.state.is_final else "in-progress"


def _number_of_address(operation: Operation) -> int | None:
    """They number addresses by their 32 bits."""
    if operation.verb not in {Verb.ASSIGN_ADDRESS, Verb.UNASSIGN_ADDRESS}:
        return None
    address = ipaddress.ip_address(operation.target_name)
    return int(address) if address.version == 4 else None


async def find(ask: Ask, text: str) -> Operation:
    """By number. Raises NotFound."""
    return await ask.actions.operations.show(ask.caller, await numbered(ask, text, Kind.OPERATION))


async def link(ask: Ask, operation: Operation, rel: str) -> dict[str, Any]:
    """Where an answer says that work goes on."""
    number = (await numbers(ask, [operation.id]))[operation.id]
    return {"id": number, "rel": rel, "href": f"{ask.root}/v2/actions/{number}"}


async def listed(ask: Ask, subject: str = "") -> Answer:
    """A page of actions."""
    found = await latest(ask, subject)
    return page(ask, "actions", await views(ask, part(ask, found)), len(found))


@DIALECT.operation("GET", "/v2/actions", "actions_list")
async def list_actions(ask: Ask) -> Answer:
    return await listed(ask)


@DIALECT.operation("GET", "/v2/actions/{action_id}", "actions_get")
async def get_action(ask: Ask) -> Answer:
    return Answer({"action": await view(ask, await find(ask, ask.path["action_id"]))})

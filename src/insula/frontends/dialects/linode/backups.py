"""Backups: scheduled ones are `automatic`, those made by hand `snapshot`. All are in the project's first store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, NotFound, Unsupported
from insula.control.actions.backup_schedules import ScheduleWish
from insula.control.actions.backups import BackupWish
from insula.domain.alias import Alias
from insula.domain.backup import Backup, BackupState
from insula.domain.ids import Kind
from insula.domain.instance import Instance
from insula.domain.retention import Keep
from insula.domain.schedule import Every
from insula.frontends.dialects.backup_place import backup_place
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, nothing, when
from insula.frontends.dialects.linode.find import linode_of
from insula.frontends.dialects.linode.regions import DEFAULT
from insula.frontends.dialects.records import (
    ALL,
    check_text,
    fitting,
    name_of,
    naming,
    numbered,
    patiently,
    under_a_name,
    unknown,
)

_PLACE = "/linode/instances/{linode}/backups"
_KEPT = Keep(daily=1, weekly=2)
_BY_HAND = "by_hand"
_STATES = {BackupState.AVAILABLE: "successful", BackupState.CREATING: "running"}


class _New(msgspec.Struct):
    label: str = ""


async def enable(ask: Ask, instance: Instance) -> None:
    """Daily ones. Raises Conflict without a backup store."""
    place = await backup_place(ask)
    wish = ScheduleWish(place.name, Every.DAILY, 0, _KEPT)
    await ask.actions.backup_schedules.set(ask.caller, instance.id, wish)


async def wanted(ask: Ask, number: int | None) -> Backup:
    """The one that a body names. Raises InvalidInput."""
    try:
        return await ask.actions.backups.show(ask.caller, await numbered(ask, str(number), Kind.BACKUP))
    except NotFound as error:
        raise InvalidInput(
            "backup_id is not valid",
            why=error.why,
            todo="Look at the Linode's backups",
            fields={"backup_id": "unknown"},
        ) from error


async def _of(ask: Ask, instance: Instance) -> Sequence[Backup]:
    found = (await ask.actions.backups.list(ask.caller, limit=ALL)).items
    return [one for one in found if one.instance_id == instance.id and one.state is not BackupState.DELETING]


async def _views(ask: Ask, instance: Instance, found: Sequence[Backup]) -> list[dict[str, Any]]:
    aliases = await ask.actions.aliases.of([instance.id, *(one.id for one in found)])
    region = aliases[instance.id].facts.get("region", DEFAULT)
    return [_view(one, aliases[one.id], region) for one in found]


def _view(backup: Backup, alias: Alias, region: str) -> dict[str, Any]:
    is_by_hand = alias.facts.get(_BY_HAND) == "yes"
    disk = {"label": f"{backup.image} Disk", "filesystem": "ext4", "size": backup.resources.disk_gib * 1024}
    return {
        "id": alias.number,
        "label": name_of(alias, backup.name) if is_by_hand else None,
        "type": "snapshot" if is_by_hand else "auto",
        "status": _STATES.get(backup.state, "failed"),
        "available": backup.state is BackupState.AVAILABLE,
        "region": region,
        "configs": [f"My {backup.image} Disk Profile"],
        "disks": [disk],
        "created": when(backup.created_at),
        "updated": when(backup.updated_at),
        "finished": None if backup.state is BackupState.CREATING else when(backup.updated_at),
    }


@DIALECT.operation("GET", _PLACE, "linodes.backups-list")
async def list_backups(ask: Ask) -> Answer:
    """The newest one made by hand is the current snapshot, as there can be only one of them there."""
    instance = await linode_of(ask)
    shown = await _views(ask, instance, await _of(ask, instance))
    by_hand = [one for one in shown if one["type"] == "snapshot"]
    done = [one for one in by_hand if one["available"]]
    begun = [one for one in by_hand if one["status"] == "running"]
    snapshot = {"current": done[-1] if done else None, "in_progress": begun[-1] if begun else None}
    return Answer({"automatic": [one for one in shown if one["type"] == "auto"], "snapshot": snapshot})


@DIALECT.operation("POST", _PLACE, "linodes.snapshot")
async def make_backup(ask: Ask) -> Answer:
    instance, wish = await linode_of(ask), ask.read(_New)
    label = check_text(wish.label, "label")
    place = await backup_place(ask)
    taken = {one.name for one in (await ask.actions.backups.list(ask.caller, limit=ALL)).items}
    ours, operation = await under_a_name(
        fitting(label, taken, "snapshot"),
        lambda name: patiently(
            lambda: ask.actions.backups.create(ask.caller, BackupWish(instance.id, place.name, name))
        ),
    )
    await ask.actions.aliases.note(operation.target, naming(label, ours) | {_BY_HAND: "yes"}, operation.id)
    made = await ask.actions.backups.show(ask.caller, operation.target)
    return Answer((await _views(ask, instance, [made]))[0])


@DIALECT.operation("POST", f"{_PLACE}/enable", "linodes.backups-enable")
async def enable_backups(ask: Ask) -> Answer:
    await enable(ask, await linode_of(ask))
    return nothing()


@DIALECT.operation("POST", f"{_PLACE}/cancel", "linodes.backups-cancel")
async def cancel_backups(ask: Ask) -> Answer:
    """Unlike there, what was made is kept."""
    instance = await linode_of(ask)
    try:
        await ask.actions.backup_schedules.end(ask.caller, instance.id)
    except NotFound as error:
        raise InvalidInput("Backups are not enabled.", why=error.why, todo="Nothing is left to do") from error
    return nothing()


async def _in_path(ask: Ask) -> tuple[Instance, Backup]:
    instance = await linode_of(ask)
    backup = await ask.actions.backups.show(ask.caller, await numbered(ask, ask.path["backup"], Kind.BACKUP))
    if backup.instance_id != instance.id:
        raise unknown("backup", ask.path["backup"])
    return instance, backup


@DIALECT.operation("GET", f"{_PLACE}/{{backup}}", "linodes.backup-view")
async def get_backup(ask: Ask) -> Answer:
    instance, backup = await _in_path(ask)
    return Answer((await _views(ask, instance, [backup]))[0])


@DIALECT.operation("POST", f"{_PLACE}/{{backup}}/restore", "linodes.backup-restore")
async def restore_backup(ask: Ask) -> Answer:
    await _in_path(ask)
    raise Unsupported(
        "A backup is not restored onto a Linode that exists",
        why="It becomes a new one, so that nothing is lost",
        todo="Create a Linode with backup_id",
    )

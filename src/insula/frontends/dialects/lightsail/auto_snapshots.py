"""Automatic snapshots of instances: the backups that their schedules made, known by the day."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from insula.base.errors import NotFound
from insula.domain.backup import Backup, BackupState
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations
from insula.frontends.dialects.lightsail.dialect import New, answer, operation, when
from insula.frontends.dialects.lightsail.resource import INSTANCE, instance
from insula.frontends.dialects.records import ALL, patiently

_STATES = {BackupState.AVAILABLE: "Success", BackupState.CREATING: "InProgress"}


class _Which(New):
    resource_name: str


class _Delete(_Which):
    date: str


async def automatic(ask: Ask, name: str, date: str) -> Backup:
    """An instance's newest of a day like 2026-11-28, or the newest of all. Raises NotFound."""
    found = [one for one in await _of(ask, name) if _day(one) == date or not date]
    usable = [one for one in found if one.state is BackupState.AVAILABLE]
    if not usable:
        raise _missing(name, date)
    return usable[-1]


async def _of(ask: Ask, name: str) -> Sequence[Backup]:
    """Oldest first."""
    host = (await instance(ask, name)).thing
    found = (await ask.actions.backups.list(ask.caller, limit=ALL)).items
    mine = [one for one in found if one.instance_id == host.id and one.scheduled]
    return [one for one in mine if one.state is not BackupState.DELETING]


def _view(backup: Backup) -> dict[str, Any]:
    return {
        "date": _day(backup),
        "createdAt": when(backup.created_at),
        "status": _STATES.get(backup.state, "Failed"),
        "fromAttachedDisks": [],
    }


def _day(backup: Backup) -> str:
    return f"{backup.created_at:%Y-%m-%d}"


@operation("GetAutoSnapshots")
async def get_auto_snapshots(ask: Ask) -> Answer:
    name = ask.read(_Which).resource_name
    shown = [_view(one) for one in reversed(await _of(ask, name))]
    return answer(resourceName=name, resourceType=INSTANCE, autoSnapshots=shown)


@operation("DeleteAutoSnapshot")
async def delete_auto_snapshot(ask: Ask) -> Answer:
    """All of that day."""
    wish = ask.read(_Delete)
    found = [one for one in await _of(ask, wish.resource_name) if _day(one) == wish.date]
    if not found:
        raise _missing(wish.resource_name, wish.date)
    return await operations.begun(
        ask, *[await patiently(partial(ask.actions.backups.delete, ask.caller, one.id)) for one in found]
    )


def _missing(name: str, date: str) -> NotFound:
    return NotFound(
        f"There is no automatic snapshot of {name[:80]}" + (f" of {date[:20]}" if date else ""),
        why="Its schedule has made none that is whole",
        todo="Look at GetAutoSnapshots",
        code="unknown-resource",
    )

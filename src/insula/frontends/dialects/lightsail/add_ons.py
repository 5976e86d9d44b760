"""Add-ons: automatic snapshots, which are backups by schedule in the project's first backup store."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insula.base.errors import Conflict, InvalidInput, NotFound, Unsupported
from insula.control.actions.backup_schedules import ScheduleWish
from insula.domain.instance import Instance
from insula.domain.operation import Verb
from insula.domain.retention import Keep
from insula.domain.schedule import Every
from insula.frontends.dialects import history
from insula.frontends.dialects.backup_place import backup_place
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail import operations
from insula.frontends.dialects.lightsail.dialect import New, operation
from insula.frontends.dialects.lightsail.resource import instance

AUTO_SNAPSHOT = "AutoSnapshot"
KEPT_DAYS = 7
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_AT = "06:00"


class _AutoSnapshot(New):
    snapshot_time_of_day: str = _AT


class AddOn(New):
    add_on_type: str
    auto_snapshot_add_on_request: _AutoSnapshot | None = None

    @property
    def at(self) -> str:
        return (self.auto_snapshot_add_on_request or _AutoSnapshot()).snapshot_time_of_day


class _Enable(New):
    resource_name: str
    add_on_request: AddOn


class _Disable(New):
    resource_name: str
    add_on_type: str


def check_add_ons(wanted: Sequence[AddOn]) -> None:
    """Raises Unsupported for what there is none of, and InvalidInput for what is no time."""
    for one in wanted:
        _check_type(one.add_on_type)
        if not _TIME.fullmatch(one.at):
            raise InvalidInput(
                f"{one.at[:20]!r} is no time of day",
                why="It is like 06:00, in UTC",
                todo="Send another snapshotTimeOfDay",
                fields={"snapshotTimeOfDay": "is no time"},
            )


async def enable(ask: Ask, host: Instance, wanted: AddOn) -> None:
    """Raises Conflict without a backup store."""
    check_add_ons([wanted])
    place = await backup_place(ask)
    hour, _, minute = wanted.at.partition(":")
    wish = ScheduleWish(place.name, Every.DAILY, int(hour) * 60 + int(minute), Keep(daily=KEPT_DAYS))
    await ask.actions.backup_schedules.set(ask.caller, host.id, wish)


@operation("EnableAddOn")
async def enable_add_on(ask: Ask) -> Answer:
    wish = ask.read(_Enable)
    host = (await instance(ask, wish.resource_name)).thing
    await enable(ask, host, wish.add_on_request)
    return await operations.begun(ask, await history.last(ask, host.id, Verb.SCHEDULE_BACKUPS))


@operation("DisableAddOn")
async def disable_add_on(ask: Ask) -> Answer:
    wish = ask.read(_Disable)
    _check_type(wish.add_on_type)
    host = (await instance(ask, wish.resource_name)).thing
    try:
        await ask.actions.backup_schedules.end(ask.caller, host.id)
    except NotFound as error:
        raise Conflict("The add-on is not enabled", why=error.why, todo="Nothing is left to disable") from error
    return await operations.begun(ask, await history.last(ask, host.id, Verb.UNSCHEDULE_BACKUPS))


def _check_type(kind: str) -> None:
    if kind != AUTO_SNAPSHOT:
        raise Unsupported(f"There is no add-on {kind[:40]}", why=f"There is {AUTO_SNAPSHOT} only", todo="Do without it")

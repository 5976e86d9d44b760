"""Backups by plan, as there: our schedules, in the project's first backup store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from insula.base.errors import InvalidInput, NotFound
from insula.control.actions.backup_schedules import ScheduleWish
from insula.domain.instance import Instance
from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every
from insula.frontends.dialects.backup_place import backup_place
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.digitalocean.dialect import DIALECT, page, part
from insula.frontends.dialects.digitalocean.droplet_view import WINDOW_HOURS, window
from insula.frontends.dialects.digitalocean.find import droplet_of, droplets
from insula.frontends.dialects.records import numbers

_PLANS: Mapping[str, tuple[Every, Keep, int]] = {
    "weekly": (Every.WEEKLY, Keep(weekly=4), 28),
    "daily": (Every.DAILY, Keep(daily=7), 7),
}
_HOURS = [0, 4, 8, 12, 16, 20]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_OUR_DAY = "MON"  # weekly ones are made on Mondays


class Policy(msgspec.Struct):
    plan: str = "weekly"
    weekday: str = _OUR_DAY
    hour: int = 0


async def enable(ask: Ask, instance: Instance, policy: Policy) -> None:
    """Raises InvalidInput for what is no plan of theirs or cannot be had, Conflict without a backup store."""
    wrong = {}
    if policy.plan not in _PLANS:
        wrong["plan"] = f"must be one of {', '.join(_PLANS)}"
    if policy.plan == "weekly" and policy.weekday != _OUR_DAY:
        wrong["weekday"] = f"must be {_OUR_DAY}: weekly backups are made on Mondays"
    if policy.hour not in _HOURS:
        wrong["hour"] = f"must be one of {', '.join(map(str, _HOURS))}"
    if wrong:
        listed = "; ".join(f"{name} {message}" for name, message in wrong.items())
        raise InvalidInput("This backup policy cannot be had", why=listed, todo="Change it", fields=wrong)
    place = await backup_place(ask)
    every, keep, _ = _PLANS[policy.plan]
    wish = ScheduleWish(place.name, every, policy.hour * 60, keep)
    await ask.actions.backup_schedules.set(ask.caller, instance.id, wish)


async def disable(ask: Ask, instance: Instance) -> None:
    """Raises InvalidInput when there are none."""
    try:
        await ask.actions.backup_schedules.end(ask.caller, instance.id)
    except NotFound as error:
        raise InvalidInput("Backups are not enabled", why=error.why, todo="Nothing is left to disable") from error


def _view(number: int, schedule: BackupSchedule | None) -> dict[str, Any]:
    if schedule is None:
        return {"droplet_id": number, "backup_enabled": False}
    plan = "weekly" if schedule.every is Every.WEEKLY else "daily"
    policy = {"plan": plan, "hour": schedule.at_minute // 240 * 4, "window_length_hours": WINDOW_HOURS}
    policy |= {"weekday": _OUR_DAY} if plan == "weekly" else {}
    policy |= {"retention_period_days": _PLANS[plan][2]}
    shown = {"droplet_id": number, "backup_enabled": True, "backup_policy": policy}
    return shown | {"next_backup_window": window(schedule)}


@DIALECT.operation("GET", "/v2/droplets/{droplet_id}/backups/policy", "droplets_get_backup_policy")
async def get_policy(ask: Ask) -> Answer:
    instance = await droplet_of(ask)
    found = {one.instance_id: one for one in await ask.actions.backup_schedules.list(ask.caller)}
    number = (await numbers(ask, [instance.id]))[instance.id]
    return Answer({"policy": _view(number, found.get(instance.id))})


@DIALECT.operation("GET", "/v2/droplets/backups/policies", "droplets_list_backup_policies")
async def list_policies(ask: Ask) -> Answer:
    there = {one.id for one in await droplets(ask)}
    found = [one for one in await ask.actions.backup_schedules.list(ask.caller) if one.instance_id in there]
    known = await numbers(ask, [one.instance_id for one in found])
    shown = {str(known[one.instance_id]): _view(known[one.instance_id], one) for one in part(ask, found)}
    answer = page(ask, "policies", [], len(found))
    return Answer({**answer.body, "policies": shown})


@DIALECT.operation("GET", "/v2/droplets/backups/supported_policies", "droplets_list_supported_backup_policies")
async def list_supported_policies(ask: Ask) -> Answer:
    shown = [
        {
            "name": name,
            "possible_window_starts": _HOURS,
            "window_length_hours": WINDOW_HOURS,
            "retention_period_days": days,
            "possible_days": [_OUR_DAY] if every is Every.WEEKLY else _DAYS,
        }
        for name, (every, _, days) in _PLANS.items()
    ]
    return Answer({"supported_policies": shown})

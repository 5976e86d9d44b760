"""backup schedule: when an instance is backed up, and what is kept."""

from __future__ import annotations

from typing import Any

import click

from insula.base.clock import iso
from insula.base.errors import InvalidInput
from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.retention import Keep
from insula.domain.schedule import BackupSchedule, Every

_EVERY = [each.value for each in Every]


@click.command()
@click.argument("instance", metavar="INSTANCE|list")
@click.option("--store", default="", metavar="NAME", help="The backup store.")
@click.option("--every", type=click.Choice(_EVERY), help="How often.")
@click.option("--at", "at", metavar="HH:MM", help="When, in UTC; 03:00 otherwise. Of hourly ones the minute counts.")
@click.option("--keep-hourly", type=int, default=0, metavar="N", help="Keep the newest of each of N hours.")
@click.option("--keep-daily", type=int, default=0, metavar="N", help="Keep the newest of each of N days.")
@click.option("--keep-weekly", type=int, default=0, metavar="N", help="Keep the newest of each of N weeks.")
@click.option("--keep-monthly", type=int, default=0, metavar="N", help="Keep the newest of each of N months.")
@click.option("--drill", type=click.Choice(_EVERY), help="Try the newest one that often.")
@click.option("--off", is_flag=True, help="End the schedule; its backups stay.")
@json_option
@click.pass_obj
def schedule(session: Session, /, instance: str, off: bool, as_json: bool, **given: Any) -> None:
    """Back an instance up by schedule; without options show it. `list` shows all."""
    schedules = session.client.backups.schedules
    if instance == "list":
        _print(session, schedules.list(), as_json)
        return
    if off:
        schedules.end(instance)
        if not as_json:
            say(f"{instance} is not backed up by schedule any more; its backups stay")
        return
    if not given["every"]:
        if given["store"] or given["at"]:
            raise InvalidInput("It is not clear how often", todo=f"Say --every {' or '.join(_EVERY)}")
        _print(session, [schedules.get(instance)], as_json)
        return
    keep = {name: given[f"keep_{name}"] for name in ("hourly", "daily", "weekly", "monthly")}
    made = schedules.set(
        instance,
        given["store"] or _only_store(session),
        given["every"],
        at_minute=None if given["at"] is None else read_time(given["at"]),
        keep=keep,
        drill=given["drill"],
    )
    if as_json:
        print_json(made)
        return
    say(f"{instance} is backed up {made.every}, next {iso(made.next_at)}; {kept(made.keep)}")


def read_time(text: str) -> int:
    """`03:00` → the minute of the day."""
    hour, colon, minute = text.partition(":")
    is_number = all(part.isascii() and part.isdigit() and len(part) == 2 for part in (hour, minute))
    if not colon or not is_number or int(hour) > 23 or int(minute) > 59:
        raise InvalidInput(
            f"--at {text} is no time of the day",
            why="It is HH:MM in UTC, from 00:00 to 23:59",
            todo="Write it like --at 03:00",
            code="invalid-time",
        )
    return int(hour) * 60 + int(minute)


def kept(keep: Keep) -> str:
    """What is kept, in words."""
    if keep.is_all:
        return "all are kept"
    numbers = {"hours": keep.hourly, "days": keep.daily, "weeks": keep.weekly, "months": keep.monthly}
    return f"one is kept of the last {', '.join(f'{count} {name}' for name, count in numbers.items() if count)}"


def _only_store(session: Session) -> str:
    stores = session.client.backups.stores.list()
    if len(stores) == 1:
        return stores[0].id
    raise InvalidInput(
        "It is not clear into which store",
        why=f"There are {len(stores)} backup stores",
        todo="Name one with --store; `insula backup store list` shows them",
    )


def _print(session: Session, found: list[BackupSchedule], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    names = {each.id: each.name for each in session.client.instances.list()} if found else {}
    stores = {each.id: each.name for each in session.client.backups.stores.list()} if found else {}
    rows = [
        (
            names.get(each.instance_id, each.instance_id),
            stores.get(each.store_id, each.store_id),
            f"{each.every} {each.at_minute // 60:02}:{each.at_minute % 60:02}",
            iso(each.next_at),
            ago(each.last_at),
            kept(each.keep),
            each.drill.value if each.drill is not None else "",
            _problem(each),
        )
        for each in found
    ]
    head = ("INSTANCE", "STORE", "EVERY", "NEXT", "LAST", "KEPT", "DRILL", "PROBLEM")
    print_table(head, rows, empty="There is no schedule. Make one: insula backup schedule web1 --every daily")


def _problem(each: BackupSchedule) -> str:
    failed = f"failed {each.failures} times: {each.problem}" if each.problem else ""
    drill = f"drill failed: {each.drill_problem}" if each.drill_problem else ""
    return "; ".join(part for part in (failed, drill) if part)

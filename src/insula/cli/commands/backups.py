"""backup: create, list, show, restore, files, cp, drill, import, rename, protect, unprotect, delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from insula.base.clock import iso
from insula.base.errors import InvalidInput
from insula.cli.commands.backup_schedules import schedule
from insula.cli.commands.backup_stores import store, tell_import
from insula.cli.commands.create import await_instance
from insula.cli.commands.power import confirm, finish, yes_option
from insula.cli.follow import wait_option
from insula.cli.options import disk_gib, memory_mib, read_forward, read_key, size_gib
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, size_of, took
from insula.cli.session import Session
from insula.client import own_key
from insula.domain.backup import Backup, BackupState, Drill
from insula.domain.names import check_name
from insula.domain.operation import Operation

_SHOWN_PARTS = 5
_KINDS = {
    "filesystem": "the guest had written all down for it",
    "crash": "what there is after a power cut",
    "stopped": "no guest ran",
}


@click.group()
def backup() -> None:
    """Backups: instances' disks in a place elsewhere, by hand or by schedule."""


backup.add_command(store)
backup.add_command(schedule)


@backup.command()
@click.argument("instance")
@click.option("--store", "place", default="", metavar="NAME", help="The backup store, if there are several.")
@click.option("--name", default="", help="Its name; the instance's with the moment otherwise.")
@click.option("--protect", is_flag=True, help="Protect it against delete.")
@wait_option
@json_option
@click.pass_obj
def create(session: Session, instance: str, place: str, name: str, protect: bool, no_wait: bool, as_json: bool) -> None:
    """Back an instance up, which may be running."""
    name = check_name(name) if name else ""
    operation = session.client.backups.create(instance, store=place, name=name, protected=protect)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        result = done.result or {}
        read, added = size_of(result["read_bytes"]), size_of(result["added_bytes"])
        say(f"Backup {done.target_name} is made ({_KINDS[result['consistency']]}): {read} read, {added} stored")


@backup.command("list")
@click.option("--instance", default="", help="Only those of this instance, also of one that is gone.")
@click.option("--store", "place", default="", metavar="NAME", help="Only those in this store.")
@click.option("--state", type=click.Choice([state.value for state in BackupState]), help="Only those in this state.")
@json_option
@click.pass_obj
def list_(session: Session, instance: str, place: str, state: str | None, as_json: bool) -> None:
    """List backups, also of instances that are gone."""
    found = session.client.backups.list(instance=instance, store=place, state=state or "")
    if as_json:
        print_json(found)
        return
    stores = {each.id: each.name for each in session.client.backups.stores.list()} if found else {}
    rows = [
        (
            each.name,
            each.state.value,
            each.instance_name,
            stores.get(each.store_id, each.store_id),
            each.consistency.value if each.consistency is not None else "",
            size_of(each.size_bytes) if each.size_bytes else "",
            size_of(each.added_bytes) if each.size_bytes else "",
            _last_drill(each),
            "yes" if each.protected else "",
            ago(each.created_at),
        )
        for each in found
    ]
    head = ("NAME", "STATE", "INSTANCE", "STORE", "CONSISTENCY", "DISK", "ADDED", "DRILL", "PROTECTED", "CREATED")
    print_table(head, rows, empty="There is no backup. Make one: insula backup create web1")


def _last_drill(found: Backup) -> str:
    if not found.drills:
        return ""
    return f"{'passed' if found.drills[-1].passed else 'failed'} {ago(found.drills[-1].at)}"


@backup.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one backup with its drills."""
    found = session.client.backups.get(name)
    if as_json:
        print_json(found)
        return
    stores = {each.id: each.name for each in session.client.backups.stores.list()}
    backups = {each.id: each.name for each in session.client.backups.list()}
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value,
            "problem": found.problem,
            "instance": f"{found.instance_name} ({found.instance_id})",
            "store": stores.get(found.store_id, found.store_id),
            "consistency": f"{found.consistency}: {_KINDS[found.consistency]}" if found.consistency else "",
            "disk": size_of(found.size_bytes) if found.size_bytes else "",
            "read": size_of(found.read_bytes) if found.read_bytes else "",
            "stored": size_of(found.added_bytes) if found.size_bytes else "",
            "changes since": backups.get(found.based_on, found.based_on),
            "image": found.image,
            "plan": found.plan,
            "by schedule": "yes" if found.scheduled else "",
            "protected": "yes" if found.protected else "",
            "created": f"{iso(found.created_at)} ({ago(found.created_at)})",
        }
    )
    for drill in found.drills:
        click.echo(f"drill:   {_drill_line(drill)}")


def _drill_line(drill: Drill) -> str:
    tried = f", {drill.command!r} ended with {drill.exit_code}" if drill.exit_code is not None else ""
    what = f"passed in {took(drill.took_ms)}" if drill.passed else f"failed: {drill.problem}"
    return f"{iso(drill.at)} {what}{tried}"


_restore_options = (
    click.option("--as", "instance", metavar="INSTANCE", help="As a new instance of this name."),
    click.option("--volume", metavar="NAME", help="Its disk as a new volume of this name."),
    click.option("--size", metavar="SIZE", help="The volume's size, like 20G; the disk's otherwise."),
    click.option("--damaged", is_flag=True, help="Restore to the volume what is left, if parts of it are lost."),
    click.option("--attach", "attach_to", default="", metavar="INSTANCE", help="Attach the volume to this instance."),
    click.option("--plan", default="", metavar="NAME", help="Another size than it had."),
    click.option("--vcpus", type=int, help="Virtual processors, instead of the plan's."),
    click.option("--memory", metavar="SIZE", help="Memory, like 512M or 4G, instead of the plan's."),
    click.option("--disk", metavar="SIZE", help="Disk, like 20G, instead of the plan's."),
    click.option("--key", "keys", multiple=True, metavar="KEY", help="A stored key's name or a .pub file; repeat."),
    click.option("--no-own-key", is_flag=True, help="Leave out your own key; only --key counts."),
    click.option("--hostname", default="", help="The guest's host name; the instance's name otherwise."),
    click.option("--forward", "forwards", multiple=True, metavar="[ADDRESS:]HOST:GUEST[/udp]", help="Open a port."),
)


def _with_restore_options(command: Any) -> Any:
    for option in reversed(_restore_options):
        command = option(command)
    return command


@backup.command()
@click.argument("name")
@_with_restore_options
@wait_option
@json_option
@click.pass_obj
def restore(
    session: Session,
    /,
    name: str,
    instance: str | None,
    volume: str | None,
    no_wait: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Restore a backup as a new instance, or its disk as a volume."""
    if bool(instance) == bool(volume):
        raise InvalidInput(
            "It is not clear what is to be made",
            why="Either --as or --volume is needed",
            todo=f"Write it like: insula backup restore {name} --as web2",
        )
    if volume:
        found = session.client.backups.get(name)
        wanted_gib = found.size_gib if given["size"] is None else size_gib(given["size"], "--size")
        operation = session.client.volumes.create(
            check_name(volume), wanted_gib, backup=name, attach_to=given["attach_to"], damaged=given["damaged"]
        )
        done = finish(session, operation, no_wait=no_wait, as_json=as_json)
        if done and not as_json:
            say(f"Volume {volume} has what was on the disk in {name}{_without((done.result or {}).get('lost') or [])}")
        return
    if given["damaged"]:
        raise InvalidInput(
            "What is left of a damaged backup cannot be restored as an instance",
            why="It may not boot, or lose more when it does",
            todo=f"Restore it as a volume: insula backup restore {name} --volume NAME --damaged",
        )
    operation = _restore_instance(session, name, check_name(instance or ""), given)
    if no_wait:
        finish(session, operation, no_wait=True, as_json=as_json)
        return
    made = await_instance(session, operation, quiet=as_json)
    if as_json:
        print_json(made)
        return
    say(f"{made.name} is running" + (f"; log in: insula ssh {made.name}" if made.ssh_port else ""))


def _without(lost: Sequence[Sequence[int]]) -> str:
    """What is not there, as the end of a sentence."""
    parts = ", ".join(f"{begin} to {end}" for begin, end in lost[:_SHOWN_PARTS])
    more = f" and {len(lost) - _SHOWN_PARTS} more parts" if len(lost) > _SHOWN_PARTS else ""
    return f", but for bytes {parts}{more}, which are zeros" if lost else ""


def _restore_instance(session: Session, name: str, instance: str, given: dict[str, Any]) -> Operation:
    keys = [read_key(key) for key in given["keys"]]
    if not given["no_own_key"]:
        keys += own_key.public_keys(session.settings.home)
    return session.client.instances.create(
        instance,
        backup=name,
        plan=given["plan"],
        vcpus=given["vcpus"],
        memory_mib=memory_mib(given["memory"]),
        disk_gib=disk_gib(given["disk"]),
        ssh_keys=keys,
        hostname=given["hostname"],
        forwards=[read_forward(text) for text in given["forwards"]],
    )


@backup.command()
@click.argument("name")
@click.argument("path", default="/")
@json_option
@click.pass_obj
def files(session: Session, name: str, path: str, as_json: bool) -> None:
    """List a folder of a backup, without restoring it (ext2, ext3, ext4)."""
    found = session.client.backups.files(name, path)
    if as_json:
        print_json(found)
        return
    rows = [
        (f"{each.mode:04o}", each.kind, str(each.size_bytes), iso(each.modified_at), each.name)
        for each in sorted(found, key=lambda each: each.name)
    ]
    print_table(("MODE", "KIND", "SIZE", "CHANGED", "NAME"), rows, empty=f"Nothing is in {path}")


@backup.command()
@click.argument("source", metavar="BACKUP:/PATH")
@click.argument("target")
@click.pass_obj
def cp(session: Session, source: str, target: str) -> None:
    """Copy a file out of a backup; a lone - is standard output."""
    name, separator, path = source.partition(":")
    if not separator or not path.startswith("/"):
        raise InvalidInput(
            f"{source} is no file in a backup",
            why="It is the backup's name, a colon and an absolute path",
            todo="Write it like: insula backup cp web1-20260131-0815:/etc/fstab .",
        )
    if target == "-":
        for piece in session.client.backups.read_file(name, path):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    file = Path(target)
    if file.is_dir() or target.endswith("/"):
        file = file / path.rsplit("/", 1)[-1]
    say(f"{session.client.backups.download(name, path, file)} bytes to {file}")


@backup.command()
@click.argument("name")
@click.option("--command", default="", metavar="LINE", help="Run this in it; it passes when that ends with 0.")
@wait_option
@json_option
@click.pass_obj
def drill(session: Session, name: str, command: str, no_wait: bool, as_json: bool) -> int:
    """Try a backup: boot it out of sight, without a network; exits with 1 when it failed."""
    done = finish(session, session.client.backups.drill(name, command), no_wait=no_wait, as_json=as_json)
    if done is None:
        return 0
    result = done.result or {}
    if not as_json:
        if result["output"]:
            click.echo(result["output"], nl=not result["output"].endswith("\n"))
        if result["passed"]:
            say(f"Backup {name} can be restored; it took {took(result['took_ms'])}")
        else:
            say(f"The drill of backup {name} failed: {result['problem']}")
    return 0 if result["passed"] else 1


@backup.command("import")
@click.argument("place", metavar="STORE")
@json_option
@click.pass_obj
def import_(session: Session, place: str, as_json: bool) -> None:
    """Find the backups in a store that other hosts made, so that they can be restored."""
    tell_import(session, place, as_json)


@backup.command()
@click.argument("name")
@click.argument("new_name")
@json_option
@click.pass_obj
def rename(session: Session, name: str, new_name: str, as_json: bool) -> None:
    """Rename a backup."""
    found = session.client.backups.rename(name, check_name(new_name))
    if as_json:
        print_json(found)
        return
    say(f"{name} is now {found.name}")


@backup.command()
@click.argument("name")
@json_option
@click.pass_obj
def protect(session: Session, name: str, as_json: bool) -> None:
    """Protect a backup against delete, by schedules too."""
    _protect(session, name, True, as_json)


@backup.command()
@click.argument("name")
@json_option
@click.pass_obj
def unprotect(session: Session, name: str, as_json: bool) -> None:
    """Take the protection away."""
    _protect(session, name, False, as_json)


def _protect(session: Session, name: str, protected: bool, as_json: bool) -> None:
    found = session.client.backups.protect(name, protected)
    if as_json:
        print_json(found)
        return
    say(f"Backup {found.name} is {'protected' if found.protected else 'not protected any more'}")


@backup.command()
@click.argument("name")
@yes_option
@wait_option
@json_option
@click.pass_obj
def delete(session: Session, name: str, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Delete a backup; others do not need it."""
    found = session.client.backups.get(name)
    confirm(f"Delete the backup {found.name} of {found.instance_name}? It cannot be undone.", yes)
    if finish(session, session.client.backups.delete(found.id), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Backup {found.name} is deleted; its room comes back with the next prune of its store")

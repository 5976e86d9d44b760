"""volume: create, attach, detach, grow, limit, list, show, tag, protect, unprotect, delete."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import click

from insula.base.clock import iso
from insula.base.errors import Forbidden, InvalidInput
from insula.cli.commands.power import confirm, finish, say_growth, yes_option
from insula.cli.follow import wait_option
from insula.cli.options import size_gib
from insula.cli.output import ago, json_option, print_fields, print_json, print_table, say, size_of
from insula.cli.session import Session
from insula.domain.names import check_name
from insula.domain.volume import FileSystem, Volume, VolumeState, device_path

_force_option = click.option(
    "--force", is_flag=True, help="Also while the guest uses it, which loses what it has not written yet."
)


@click.group()
def volume() -> None:
    """Volumes: disks that are attached to one instance, then to another."""


@volume.command()
@click.argument("name")
@click.option("--size", required=True, metavar="SIZE", help="Like 10G, or 10.")
@click.option(
    "--format",
    "file_system",
    type=click.Choice([kind.value for kind in FileSystem]),
    default=FileSystem.NONE.value,
    help="A file system on it; none otherwise.",
)
@click.option("--attach", "attach_to", default="", metavar="INSTANCE", help="Attach it to this instance at once.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; repeat.")
@click.option("--protect", is_flag=True, help="Protect it against delete.")
@click.option("--iops", type=int, default=0, help="Operations a second; unlimited otherwise.")
@click.option("--mbps", type=int, default=0, help="Megabytes a second; unlimited otherwise.")
@wait_option
@json_option
@click.pass_obj
def create(
    session: Session,
    name: str,
    size: str,
    file_system: str,
    attach_to: str,
    tags: tuple[str, ...],
    protect: bool,
    iops: int,
    mbps: int,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Create a volume."""
    operation = session.client.volumes.create(
        check_name(name),
        size_gib(size, "--size"),
        file_system=file_system,
        attach_to=attach_to,
        tags=tags,
        protected=protect,
        disk_iops=iops,
        disk_mbps=mbps,
    )
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Volume {name} is {_where(name, attach_to) if attach_to else 'there'}")


@volume.command()
@click.argument("name")
@click.argument("instance")
@click.option("--move", is_flag=True, help="Take it from the instance that has it.")
@_force_option
@wait_option
@json_option
@click.pass_obj
def attach(session: Session, name: str, instance: str, move: bool, force: bool, no_wait: bool, as_json: bool) -> None:
    """Attach a volume to an instance, which may be running."""
    operation = session.client.volumes.attach(name, instance, move=move, force=force)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Volume {name} is {_where(name, instance)}")


@volume.command()
@click.argument("name")
@_force_option
@wait_option
@json_option
@click.pass_obj
def detach(session: Session, name: str, force: bool, no_wait: bool, as_json: bool) -> None:
    """Detach a volume from its instance; unmount it in the guest first."""
    operation = session.client.volumes.detach(name, force=force)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Volume {name} is detached")


@volume.command()
@click.argument("name")
@click.argument("size")
@wait_option
@json_option
@click.pass_obj
def grow(session: Session, name: str, size: str, no_wait: bool, as_json: bool) -> None:
    """Make a volume larger, with what is mounted from it: insula volume grow data 20."""
    operation = session.client.volumes.grow(name, size_gib(size, "SIZE"))
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        say(f"Volume {name} has {size_gib(size, 'SIZE')} GiB")
        say_growth(done)


@volume.command()
@click.argument("name")
@click.option("--iops", type=int, help="Operations a second; 0 is unlimited.")
@click.option("--mbps", type=int, help="Megabytes a second; 0 is unlimited.")
@wait_option
@json_option
@click.pass_obj
def limit(session: Session, name: str, iops: int | None, mbps: int | None, no_wait: bool, as_json: bool) -> None:
    """Change a volume's limits, also while it is used."""
    if iops is None and mbps is None:
        raise InvalidInput(
            "There is no new limit",
            why="Neither --iops nor --mbps was given",
            todo=f"Write it like: insula volume limit {name} --iops 500",
        )
    operation = session.client.volumes.limit(name, disk_iops=iops, disk_mbps=mbps)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Volume {name} has its new limits")


@volume.command("list")
@click.option("--state", type=click.Choice([state.value for state in VolumeState]), help="Only those in this state.")
@click.option("--tag", default="", help="Only those with this tag.")
@click.option("--instance", default="", help="Only those of this instance.")
@json_option
@click.pass_obj
def list_(session: Session, state: str | None, tag: str, instance: str, as_json: bool) -> None:
    """List volumes."""
    found = session.client.volumes.list(state=state or "", tag=tag, instance=instance)
    if as_json:
        print_json(found)
        return
    names = _instance_names(session) if found else {}
    rows = [
        (
            each.name,
            each.state.value,
            f"{each.size_gib} GiB",
            _used(each),
            each.file_system.value,
            names.get(each.instance_id or "", each.instance_id or ""),
            ", ".join(each.tags),
            ago(each.created_at),
        )
        for each in found
    ]
    head = ("NAME", "STATE", "SIZE", "USED", "FORMAT", "ATTACHED TO", "TAGS", "CREATED")
    print_table(head, rows, empty="There is no volume. Make one: insula volume create data --size 10G")


@volume.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one volume."""
    found = session.client.volumes.get(name)
    if as_json:
        print_json(found)
        return
    host = found.instance_id and _instance_names(session).get(found.instance_id, found.instance_id)
    print_fields(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value,
            "problem": found.problem,
            "size": f"{found.size_gib} GiB",
            "used": _used(found),
            "format": found.file_system.value,
            "attached to": host or "",
            "in the guest": device_path(found.name) if host else "",
            "limits": _limits(found),
            "tags": ", ".join(found.tags),
            "protected": "yes" if found.protected else "",
            "created": f"{iso(found.created_at)} ({ago(found.created_at)})",
        }
    )


@volume.command()
@click.argument("name")
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; repeat.")
@json_option
@click.pass_obj
def tag(session: Session, name: str, tags: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Show or change a volume's tags."""
    found = session.client.volumes.get(name)
    if tags or remove:
        found = session.client.volumes.set_tags(found.id, sorted((set(found.tags) | set(tags)) - set(remove)))
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(found.tags))


@volume.command()
@click.argument("name")
@json_option
@click.pass_obj
def protect(session: Session, name: str, as_json: bool) -> None:
    """Protect a volume against delete."""
    _protect(session, name, True, as_json)


@volume.command()
@click.argument("name")
@json_option
@click.pass_obj
def unprotect(session: Session, name: str, as_json: bool) -> None:
    """Take the protection away."""
    _protect(session, name, False, as_json)


@volume.command()
@click.argument("name")
@yes_option
@wait_option
@json_option
@click.pass_obj
def delete(session: Session, name: str, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Delete a volume with all that is on it."""
    found = session.client.volumes.get(name)
    confirm(f"Delete the volume {found.name} with all that is on it? It cannot be undone.", yes)
    if finish(session, session.client.volumes.delete(found.id), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"Volume {found.name} is deleted")


def _protect(session: Session, name: str, protected: bool, as_json: bool) -> None:
    found = session.client.volumes.protect(name, protected)
    if as_json:
        print_json(found)
        return
    say(f"Volume {found.name} is {'protected' if found.protected else 'not protected any more'}")


def _instance_names(session: Session) -> Mapping[str, str]:
    """Names by ids, for people; a token that may not see instances shows their ids."""
    with contextlib.suppress(Forbidden):
        return {each.id: each.name for each in session.client.instances.list()}
    return {}


def _where(name: str, instance: str) -> str:
    return f"attached to {instance}, whose guest finds it at {device_path(name)}"


def _used(found: Volume) -> str:
    """What it takes of the host's disk."""
    return "" if found.used_bytes is None else size_of(found.used_bytes)


def _limits(found: Volume) -> str:
    limits = {"IOPS": found.disk_iops, "MB/s": found.disk_mbps}
    return ", ".join(f"{value} {name}" for name, value in limits.items() if value)

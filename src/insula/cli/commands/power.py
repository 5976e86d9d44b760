"""start, stop, fork, reboot, delete, resize, rebuild: what changes an instance through an operation."""

from __future__ import annotations

import contextlib
import sys

import click

from insula.base.errors import Forbidden, InsulaError, InvalidInput
from insula.cli.follow import follow, wait_option
from insula.cli.options import disk_gib, memory_mib, read_key, read_text
from insula.cli.output import json_option, print_json, say, took
from insula.cli.session import Session
from insula.client import known_hosts
from insula.domain.operation import Operation

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

_WAYS = {
    "agent": "the guest shut itself down when its agent asked it to",
    "acpi": "the guest obeyed the power button",
    "hard": "the guest did not obey in time and was switched off",
    "already-off": "it was off already",
}


def finish(session: Session, operation: Operation, *, no_wait: bool, as_json: bool) -> Operation | None:
    """Follow an operation to its end unless told not to; then None, and its id was printed."""
    if no_wait:
        if as_json:
            print_json(operation)
        else:
            click.echo(operation.id)
        return None
    done = follow(session.client, operation, quiet=as_json)
    if as_json:
        print_json(done)
    return done


def confirm(question: str, yes: bool) -> None:
    """Ask unless `yes`; without a terminal there is nobody to ask. Raises InvalidInput."""
    if yes:
        return
    if sys.stdin.isatty() and click.confirm(question, err=True):
        return
    raise InvalidInput(
        "Nothing was done",
        why="You said no" if sys.stdin.isatty() else "There is no terminal to ask at",
        todo="Say --yes to do it without a question",
        code="not-confirmed",
    )


@click.command()
@click.argument("instance")
@click.option("--cold", is_flag=True, help="Boot a hibernated one from its disk; what was in its memory is lost.")
@wait_option
@json_option
@click.pass_obj
def start(session: Session, instance: str, cold: bool, no_wait: bool, as_json: bool) -> None:
    """Start an instance; a hibernated one goes on where it was."""
    operation = session.client.instances.start(instance, cold=cold)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{instance} is running")


@click.command()
@click.argument("instance")
@wait_option
@json_option
@click.pass_obj
def pause(session: Session, instance: str, no_wait: bool, as_json: bool) -> None:
    """Let an instance stand still; its memory stays in the host's."""
    if finish(session, session.client.instances.pause(instance), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{instance} is paused")


@click.command()
@click.argument("instance")
@wait_option
@json_option
@click.pass_obj
def resume(session: Session, instance: str, no_wait: bool, as_json: bool) -> None:
    """Let a paused instance go on."""
    if finish(session, session.client.instances.resume(instance), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{instance} is running")


@click.command()
@click.argument("instance")
@wait_option
@json_option
@click.pass_obj
def hibernate(session: Session, instance: str, no_wait: bool, as_json: bool) -> None:
    """Save an instance's memory to disk and free the host's; start goes on from there."""
    if finish(session, session.client.instances.hibernate(instance), no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{instance} is hibernated; `insula start {instance}` wakes it")


@click.command()
@click.argument("instance")
@click.option("--count", type=int, default=1, metavar="N", help="How many children; one otherwise.")
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="A child's name; repeat. Else the own with a number."
)
@click.option(
    "--identity",
    type=click.Choice(["renew", "keep"]),
    default="renew",
    help="keep: the same guest once more, without a network.",
)
@wait_option
@json_option
@click.pass_obj
def fork(
    session: Session, instance: str, count: int, names: tuple[str, ...], identity: str, no_wait: bool, as_json: bool
) -> None:
    """Make children that go on from an instance's present state, while it goes on itself."""
    operation = session.client.instances.fork(instance, count=count, names=names, identity=identity)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is None or as_json:
        return
    result = done.result or {}
    for failed in result["failed"]:
        say(f"{failed['name']} did not come up: {failed['error']['what']}")
    made = ", ".join(child["name"] for child in result["children"])
    say(f"{made} went on from {instance}, which stood still for {result['paused_ms']} ms")


@click.command()
@click.argument("instance")
@click.option("--hard", is_flag=True, help="Switch it off at once.")
@click.option("--timeout", "graceful_s", type=float, metavar="SECONDS", help="How long the guest may take to obey.")
@wait_option
@json_option
@click.pass_obj
def stop(session: Session, instance: str, hard: bool, graceful_s: float | None, no_wait: bool, as_json: bool) -> None:
    """Stop an instance: politely first, hard when it does not obey."""
    operation = session.client.instances.stop(instance, graceful_s=0.0 if hard else graceful_s)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        say(f"{instance} is stopped{_how(done)}")


def _how(done: Operation) -> str:
    result = done.result or {}
    way = _WAYS.get(str(result.get("way", "")), "")
    return f": {way} ({took(float(result.get('took_ms', 0)))})" if way else ""


@click.command()
@click.argument("instance")
@click.option("--hard", is_flag=True, help="Reset it at once.")
@click.option("--timeout", "graceful_s", type=float, metavar="SECONDS", help="How long the guest may take to obey.")
@wait_option
@json_option
@click.pass_obj
def reboot(session: Session, instance: str, hard: bool, graceful_s: float | None, no_wait: bool, as_json: bool) -> None:
    """Reboot an instance."""
    operation = session.client.instances.reboot(instance, graceful_s=0.0 if hard else graceful_s)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{instance} is running again")


@click.command()
@click.argument("instances", nargs=-1, required=True)
@yes_option
@wait_option
@json_option
@click.pass_obj
def delete(session: Session, instances: tuple[str, ...], yes: bool, no_wait: bool, as_json: bool) -> None:
    """Delete instances with their disks; their backups stay."""
    found = [session.client.instances.get(name) for name in instances]
    names = ", ".join(each.name for each in found)
    confirm(f"Delete {names} with {'its disk' if len(found) == 1 else 'their disks'}? It cannot be undone.", yes)

    failed: InsulaError | None = None
    for each in found:
        # One that cannot be deleted does not keep the others.
        try:
            operation = session.client.instances.delete(each.id)
            if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
                say(f"{each.name} is deleted{_kept_backups(session, each.id)}")
            known_hosts.forget(session.settings.home, each)
        except InsulaError as error:
            if len(found) == 1:
                raise
            say(f"error: {error}")
            failed = error
    if failed is not None:
        raise failed


def _kept_backups(session: Session, instance_id: str) -> str:
    """What stays of a deleted instance, as the end of a sentence; a token that may not see backups tells nothing."""
    with contextlib.suppress(Forbidden):
        if count := len(session.client.backups.list(instance=instance_id)):
            stay = "backup stays" if count == 1 else f"{count} backups stay"
            return f"; its {stay}: insula backup list --instance {instance_id}"
    return ""


@click.command()
@click.argument("instance")
@click.option("--plan", default="", metavar="NAME", help="The new plan.")
@click.option("--vcpus", type=int, help="Virtual processors.")
@click.option("--memory", metavar="SIZE", help="Memory, like 4G.")
@click.option("--disk", metavar="SIZE", help="Disk, like 40G; it can only grow.")
@click.option("--iops", type=int, help="Disk operations a second; 0 is unlimited.")
@click.option("--mbps", type=int, help="Megabytes a second from and to the disk; 0 is unlimited.")
@click.option("--network-mbps", type=int, help="Megabits a second in each direction; 0 is unlimited.")
@click.option("--network-pps", type=int, help="Packets a second in each direction; 0 is unlimited.")
@wait_option
@json_option
@click.pass_obj
def resize(
    session: Session,
    instance: str,
    plan: str,
    vcpus: int | None,
    memory: str | None,
    disk: str | None,
    iops: int | None,
    mbps: int | None,
    network_mbps: int | None,
    network_pps: int | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Change an instance's size; a running one reboots for processors and memory only."""
    wish = {"vcpus": vcpus, "memory_mib": memory_mib(memory), "disk_gib": disk_gib(disk)}
    wish |= {"disk_iops": iops, "disk_mbps": mbps, "network_mbps": network_mbps, "network_pps": network_pps}
    if not plan and all(value is None for value in wish.values()):
        raise InvalidInput(
            "There is no new size",
            why="Neither --plan nor any size or limit was given",
            todo=f"Write it like: insula resize {instance} --plan entry-2",
        )
    operation = session.client.instances.resize(instance, plan=plan, **wish)
    done = finish(session, operation, no_wait=no_wait, as_json=as_json)
    if done is not None and not as_json:
        say(f"{instance} has its new size")
        say_growth(done)


def say_growth(done: Operation) -> None:
    """Which file systems grew, and what is left to do, if a guest has seen a disk grow."""
    result = done.result or {}
    if result.get("grown"):
        say(f"grown: {', '.join(result['grown'])}")
    if result.get("todo"):
        say(f"left to do: {result['todo']}")


@click.command()
@click.argument("instance")
@click.option("--image", default="", metavar="NAME", help="Another image; its own otherwise.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Other keys than it had; repeat.")
@click.option("--user-data", metavar="FILE", help="Other user-data than it had.")
@yes_option
@wait_option
@json_option
@click.pass_obj
def rebuild(
    session: Session,
    instance: str,
    image: str,
    keys: tuple[str, ...],
    user_data: str | None,
    yes: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Give an instance a fresh disk; what it held is lost."""
    found = session.client.instances.get(instance)
    confirm(f"Rebuild {found.name}? Everything on its disk is lost.", yes)
    operation = session.client.instances.rebuild(
        found.id,
        image=image,
        ssh_keys=[read_key(key) for key in keys] or None,
        user_data=None if user_data is None else read_text(user_data, "--user-data"),
    )
    known_hosts.forget(session.settings.home, found)
    if finish(session, operation, no_wait=no_wait, as_json=as_json) and not as_json:
        say(f"{found.name} is rebuilt")

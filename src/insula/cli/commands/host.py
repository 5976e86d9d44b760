"""capacity, doctor, audit."""

from __future__ import annotations

from collections.abc import Sequence

import click

from insula.base.clock import iso
from insula.base.errors import Unavailable
from insula.cli.output import coloured, json_option, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.capacity import Amount, DiskRoom
from insula.protocol.node import Check, Leftover


@click.command()
@json_option
@click.pass_obj
def capacity(session: Session, as_json: bool) -> None:
    """Show what the host has, what is promised, what is left."""
    found = session.client.host.capacity()
    if as_json:
        print_json(found)
        return
    for node in found:
        click.echo(
            f"{node.node}: {node.physical_cores} cores, {node.physical_memory_mib} MiB memory "
            f"({node.reserve_memory_mib} MiB kept for the host), {node.instances} instances"
        )
        click.echo(
            f"disk: {node.physical_disk_free_gib:.1f} of {node.physical_disk_gib:.1f} GiB are free; by now instances "
            f"have written {node.written_instances_gib:.1f} GiB, and to volumes {node.written_volumes_gib:.1f} GiB"
        )
        rows = [
            ("cpu (% of a core)", *_numbers(node.cpu_percent)),
            ("memory (MiB)", *_numbers(node.memory_mib)),
            ("disk (GiB)", *_numbers(node.disk_gib)),
        ]
        print_table(("", "TO GIVE", "PROMISED", "LEFT"), rows, empty="")
        if node.disk_room is not DiskRoom.ENOUGH:
            say(f"The disk of {node.node} is almost full, and guests stand still when it is: free some space")
        if node.spare.memory_mib:
            say(f"Templates hold {node.spare.memory_mib} MiB beside that, until an instance needs them")


def _numbers(amount: Amount) -> tuple[str, str, str]:
    return f"{amount.total:.0f}", f"{amount.used:.0f}", f"{amount.free:.0f}"


@click.command()
@click.option("--repair", is_flag=True, help="Remove files, processes and ports that no record owns.")
@json_option
@click.pass_obj
def doctor(session: Session, repair: bool, as_json: bool) -> int:
    """Say what this host can do, what is wrong and how to mend it.

    The exit status is 1 when there is a problem.
    """
    leftovers: Sequence[Leftover] = []
    try:
        checks: Sequence[Check] = session.client.host.doctor()
        leftovers = session.client.host.repair(remove=repair)
    except Unavailable as error:
        if not session.settings.is_local or repair:
            raise
        # The doctor is needed most when the service does not start.
        from insula.client.service_process import examine  # noqa: PLC0415

        checks = [Check("service", "problem", f"{error.what}: {error.why}", error.todo), *examine(session.settings)]
    bad = any(check.verdict == "problem" for check in checks) or any(not each.removed for each in leftovers)
    if as_json:
        print_json({"checks": checks, "leftovers": leftovers})
    else:
        _show(checks, leftovers)
    return 1 if bad else 0


def _show(checks: Sequence[Check], leftovers: Sequence[Leftover]) -> None:
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        click.echo(f"{coloured(check.verdict):<{8 + len(coloured(check.verdict)) - len(check.verdict)}}", nl=False)
        click.echo(f"{check.name:<{width}}  {check.detail}")
        if check.todo and check.verdict != "ok":
            click.echo(f"{'':<{10 + width}}do: {check.todo}")
    for each in leftovers:
        click.echo(f"{each.what} {each.name}: {'removed' if each.removed else 'belongs to no record'}")
    if any(not each.removed for each in leftovers):
        say("Remove what belongs to no record: insula doctor --repair")


@click.command()
@click.option("--after", default=0, metavar="N", help="Only entries after this number.")
@click.option("--limit", default=50, metavar="N", help="How many at most (50).")
@json_option
@click.pass_obj
def audit(session: Session, after: int, limit: int, as_json: bool) -> None:
    """Show who did what."""
    found = session.client.audit.list(after=after, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        (str(each.sequence), iso(each.at), each.subject, each.project, each.action, each.target, each.outcome)
        for each in found
    ]
    print_table(("NUMBER", "AT", "WHO", "PROJECT", "DID", "TO", "OUTCOME"), rows, empty="Nothing was done yet.")

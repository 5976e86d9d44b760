"""traffic."""

from __future__ import annotations

from datetime import UTC

import click

from insula.cli.output import json_option, print_json, print_table, size_of
from insula.cli.session import Session
from insula.domain.traffic import KEPT_DAYS, Counts


@click.command()
@click.argument("instance")
@click.option(
    "--hours",
    type=click.IntRange(1, KEPT_DAYS * 24),
    default=24,
    metavar="N",
    help="For how many hours, the present one included (24).",
)
@json_option
@click.pass_obj
def traffic(session: Session, instance: str, hours: int, as_json: bool) -> None:
    """Show what an instance sent and received, hour by hour."""
    found = session.client.instances.traffic(instance, hours=hours)
    if as_json:
        print_json(found)
        return
    rows = [_row(each.hour.astimezone(UTC).strftime("%Y-%m-%d %H:00Z"), each.counts) for each in found.hours]
    if rows:
        rows.append(_row("all", found.total))
    head = ("HOUR", "SENT", "PACKETS", "RECEIVED", "PACKETS")
    print_table(head, rows, empty=f"{instance} has sent and received nothing in {hours} h")


def _row(name: str, counts: Counts) -> tuple[str, ...]:
    return (
        name,
        size_of(counts.sent_bytes),
        str(counts.sent_packets),
        size_of(counts.received_bytes),
        str(counts.received_packets),
    )

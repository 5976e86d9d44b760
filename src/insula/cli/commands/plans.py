"""plan: list."""

from __future__ import annotations

import click

from insula.cli.output import json_option, print_json, print_table, size
from insula.cli.session import Session


@click.group()
def plan() -> None:
    """Plans: the sizes there are."""


@plan.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List plans."""
    found = session.client.plans.list()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each.name,
            each.band.value,
            str(each.vcpus),
            f"{each.cpu_percent} %",
            size(each.memory_mib),
            f"{each.disk_gib} GiB",
            _limit(each.disk_iops),
            _limit(each.disk_mbps),
            _limit(each.network_mbps),
            _limit(each.network_pps),
        )
        for each in found
    ]
    head = (
        "NAME",
        "BAND",
        "VCPUS",
        "CPU AT MOST",
        "MEMORY",
        "DISK",
        "IOPS",
        "DISK MB/S",
        "NETWORK MBIT/S",
        "PACKETS/S",
    )
    print_table(head, rows, empty="There is no plan.")


def _limit(value: int) -> str:
    return str(value) if value else "no limit"

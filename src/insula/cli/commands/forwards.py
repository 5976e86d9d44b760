"""forward: add, remove, list."""

from __future__ import annotations

import click

from insula.cli.options import read_forward
from insula.cli.output import json_option, print_json, print_table, say
from insula.cli.session import Session
from insula.domain.instance import Protocol


@click.group()
def forward() -> None:
    """Forwards: ports of the host that lead to instances."""


@forward.command()
@click.argument("instance")
@click.argument("ports", metavar="[ADDRESS:]HOST:GUEST[/udp]")
@json_option
@click.pass_obj
def add(session: Session, instance: str, ports: str, as_json: bool) -> None:
    """Open a port while the instance runs: insula forward add web1 8080:80."""
    changed = session.client.instances.add_forward(instance, read_forward(ports))
    if as_json:
        print_json(changed)
        return
    new = changed.forwards[-1]
    say(f"{new.host_address}:{new.host_port} leads to port {new.guest_port}/{new.protocol} of {changed.name}")


@forward.command()
@click.argument("instance")
@click.argument("port", type=int)
@click.option("--udp", is_flag=True, help="The port of UDP; that of TCP otherwise.")
@json_option
@click.pass_obj
def remove(session: Session, instance: str, port: int, udp: bool, as_json: bool) -> None:
    """Close a port of the host; connections that came through it go on."""
    protocol = Protocol.UDP if udp else Protocol.TCP
    changed = session.client.instances.remove_forward(instance, port, protocol=protocol)
    if as_json:
        print_json(changed)
        return
    say(f"Port {port}/{protocol} leads to {changed.name} no more")


@forward.command("list")
@click.argument("instance")
@json_option
@click.pass_obj
def list_(session: Session, instance: str, as_json: bool) -> None:
    """List the ports that lead to an instance."""
    found = session.client.instances.get(instance)
    if as_json:
        print_json(found.forwards)
        return
    rows = [(f"{one.host_address}:{one.host_port}", str(one.guest_port), one.protocol.value) for one in found.forwards]
    print_table(("HOST", "GUEST", "PROTOCOL"), rows, empty=f"No port leads to {found.name}")

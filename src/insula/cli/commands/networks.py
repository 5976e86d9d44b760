"""network: create, set, attach, detach, join, part, list, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session


@click.group()
def network() -> None:
    """Networks: what instances are in."""


@network.command()
@click.argument("name")
@click.option("--ipv4", default="", metavar="PREFIX", help="Like 10.7.0.0/24, or none; one is chosen otherwise.")
@click.option("--ipv6", default="", metavar="PREFIX", help="Like fd00:7::/64, or none; one is chosen otherwise.")
@click.option("--no-gateway", is_flag=True, help="Let it lead nowhere outside.")
@json_option
@click.pass_obj
def create(session: Session, name: str, ipv4: str, ipv6: str, no_gateway: bool, as_json: bool) -> None:
    """Make a network: insula network create backend --no-gateway."""
    made = session.client.networks.create(name, ipv4=ipv4, ipv6=ipv6, gateway=not no_gateway)
    if as_json:
        print_json(made)
        return
    prefixes = " and ".join(text for text in (made.ipv4, made.ipv6) if text)
    say(f"Network {made.name} is there: {prefixes}. Put somebody in: insula create web1 --network {made.name}")


@network.command("set")
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", help="What it is called from now on.")
@click.option("--gateway/--no-gateway", default=None, help="Whether it leads outside.")
@json_option
@click.pass_obj
def set_(session: Session, name: str, new_name: str | None, gateway: bool | None, as_json: bool) -> None:
    """Rename a network, let it lead outside or no more."""
    changed = session.client.networks.change(name, name=new_name, gateway=gateway)
    if as_json:
        print_json(changed)
        return
    say(f"Network {changed.name} leads {'outside' if changed.gateway else 'nowhere outside'}")


@network.command()
@click.argument("name")
@click.argument("other")
@click.pass_obj
def join(session: Session, name: str, other: str) -> None:
    """Let two networks reach each other."""
    session.client.networks.join(name, other)
    say(f"{name} and {other} reach each other")


@network.command()
@click.argument("name")
@click.argument("other")
@click.pass_obj
def part(session: Session, name: str, other: str) -> None:
    """Let two networks reach each other no more; connections that stand go on."""
    session.client.networks.part(name, other)
    say(f"{name} and {other} are apart")


@network.command()
@click.argument("instance")
@click.argument("name")
@json_option
@click.pass_obj
def attach(session: Session, instance: str, name: str, as_json: bool) -> None:
    """Give an instance a further network card: insula network attach web1 backend."""
    changed = session.client.instances.attach_network(instance, name)
    if as_json:
        print_json(changed)
        return
    network_id = session.client.networks.get(name).id
    mine = next(port for port in changed.ports if port.network_id == network_id)
    addresses = " and ".join(text for text in (mine.ipv4, mine.ipv6) if text)
    say(f"{changed.name} is in {name} as well: {addresses}, at its card {mine.mac}")


@network.command()
@click.argument("instance")
@click.argument("name")
@json_option
@click.pass_obj
def detach(session: Session, instance: str, name: str, as_json: bool) -> None:
    """Take a further network card away from an instance."""
    changed = session.client.instances.detach_network(instance, name)
    if as_json:
        print_json(changed)
        return
    say(f"{changed.name} is not in {name} any more")


@network.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List networks; instances that name none are in the first one."""
    found = session.client.networks.list()
    if as_json:
        print_json(found)
        return
    names = {one.id: one.name for one in found}
    pairs = session.client.networks.joined()
    inside = [port.network_id for one in session.client.instances.list() for port in one.ports]
    rows = [
        (
            *(one.name, one.ipv4, one.ipv6, "yes" if one.gateway else "no"),
            *(str(inside.count(one.id)), _others(one.id, pairs, names), ago(one.created_at)),
        )
        for one in found
    ]
    empty = "No network. The project's first instance brings one along: insula launch web1"
    print_table(("NAME", "IPV4", "IPV6", "GATEWAY", "INSTANCES", "JOINED WITH", "MADE"), rows, empty=empty)


@network.command()
@click.argument("name")
@click.pass_obj
def delete(session: Session, name: str) -> None:
    """Delete a network that no instance is in."""
    session.client.networks.delete(name)
    say(f"Network {name} is deleted")


def _others(network_id: str, pairs: Iterable[tuple[str, str]], names: Mapping[str, str]) -> str:
    ids = {each for pair in pairs if network_id in pair for each in pair} - {network_id}
    return ", ".join(sorted(names[each] for each in ids if each in names))

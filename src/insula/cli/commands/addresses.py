"""address: reserve, assign, unassign, release, list, history; address-pool: add, list, delete."""

from __future__ import annotations

import click

from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session


@click.group()
def address() -> None:
    """Addresses of the outside that lead to instances."""


@address.command()
@click.argument("address", required=False, default="")
@click.option("--to", "instance", default="", metavar="INSTANCE", help="Let it lead there at once.")
@click.option("--pool", default="", metavar="NAME", help="From this pool; otherwise from any.")
@click.option("--ipv6", is_flag=True, help="An address of IPv6; of IPv4 otherwise.")
@json_option
@click.pass_obj
def reserve(session: Session, address: str, instance: str, pool: str, ipv6: bool, as_json: bool) -> None:
    """Reserve an address, that one or a free one: insula address reserve --to web1."""
    version = 6 if ipv6 else 4
    made = session.client.addresses.reserve(address, pool=pool, version=version, instance=instance)
    if as_json:
        print_json(made)
        return
    say(f"{made.address} is yours" + (f" and leads to {instance}" if instance else ""))


@address.command()
@click.argument("address")
@click.argument("instance")
@json_option
@click.pass_obj
def assign(session: Session, address: str, instance: str, as_json: bool) -> None:
    """Let an address lead to an instance, whichever it led to before."""
    changed = session.client.addresses.assign(address, instance)
    if as_json:
        print_json(changed)
        return
    say(f"{changed.address} leads to {instance}")


@address.command()
@click.argument("address")
@json_option
@click.pass_obj
def unassign(session: Session, address: str, as_json: bool) -> None:
    """Let an address lead nowhere; it stays reserved."""
    changed = session.client.addresses.unassign(address)
    if as_json:
        print_json(changed)
        return
    say(f"{changed.address} leads nowhere")


@address.command()
@click.argument("address")
@click.pass_obj
def release(session: Session, address: str) -> None:
    """Give an address back that leads nowhere."""
    session.client.addresses.release(address)
    say(f"{address} is given back")


@address.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List the addresses that the project has reserved."""
    found = session.client.addresses.list()
    if as_json:
        print_json(found)
        return
    names = {one.id: one.name for one in session.client.instances.list()} if found else {}
    rows = [(one.address, names.get(one.instance_id or "", "nowhere"), ago(one.created_at)) for one in found]
    print_table(("ADDRESS", "LEADS TO", "RESERVED"), rows, empty="No address. Reserve one: insula address reserve")


@address.command()
@click.argument("address")
@json_option
@click.pass_obj
def history(session: Session, address: str, as_json: bool) -> None:
    """List the instances that an address led to, the last one first."""
    found = session.client.addresses.history(address)
    if as_json:
        print_json(found)
        return
    rows = [
        (one.instance_name, one.instance_id, ago(one.began_at), ago(one.ended_at) if one.ended_at else "still")
        for one in found
    ]
    print_table(("INSTANCE", "ID", "FROM", "UNTIL"), rows, empty=f"{address} never led anywhere")


@click.group("address-pool")
def address_pool() -> None:
    """Pools of addresses that projects may reserve."""


@address_pool.command()
@click.argument("name")
@click.argument("addresses", metavar="PREFIX|FIRST-LAST|ADDRESS")
@click.option("--node", default="", metavar="NAME", help="The host that they lead to, where there are several.")
@json_option
@click.pass_obj
def add(session: Session, name: str, addresses: str, node: str, as_json: bool) -> None:
    """Add a pool: insula address-pool add public 203.0.113.0/28."""
    made = session.client.addresses.add_pool(name, addresses, node=node)
    if as_json:
        print_json(made)
        return
    say(f"Pool {made.name} has {made.first} to {made.last}. Take one: insula address reserve --pool {made.name}")


@address_pool.command("list")
@json_option
@click.pass_obj
def list_pools(session: Session, as_json: bool) -> None:
    """List the pools."""
    found = session.client.addresses.pools()
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.first, one.last, one.node, ago(one.created_at)) for one in found]
    empty = "No pool. Add one: insula address-pool add NAME 203.0.113.0/28"
    print_table(("NAME", "FIRST", "LAST", "NODE", "ADDED"), rows, empty=empty)


@address_pool.command()
@click.argument("name")
@click.pass_obj
def delete(session: Session, name: str) -> None:
    """Delete a pool that no address is reserved of."""
    session.client.addresses.delete_pool(name)
    say(f"Pool {name} is deleted")

"""project: list, create, delete."""

from __future__ import annotations

import click

from insula.cli.commands.power import confirm, yes_option
from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session


@click.group()
def project() -> None:
    """Projects: the boundary between tenants."""


@project.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List projects."""
    found = session.client.projects.list()
    if as_json:
        print_json(found)
        return
    print_table(("NAME", "MADE"), [(each.name, ago(each.created_at)) for each in found], empty="There is no project.")


@project.command()
@click.argument("name")
@json_option
@click.pass_obj
def create(session: Session, name: str, as_json: bool) -> None:
    """Make a project. Work in it with --project NAME or INSULA_PROJECT."""
    made = session.client.projects.create(name)
    if as_json:
        print_json(made)
        return
    say(f"Project {made.name} is there; work in it like: insula --project {made.name} list")


@project.command()
@click.argument("name")
@yes_option
@click.pass_obj
def delete(session: Session, name: str, yes: bool) -> None:
    """Delete an empty project."""
    confirm(f"Delete the project {name} with its keys, its tokens, and the users of no other?", yes)
    session.client.projects.delete(name)
    say(f"Project {name} is deleted")

"""create."""

from __future__ import annotations

from typing import Any

import click

from insula.cli.follow import follow, wait_option
from insula.cli.options import CreateWish, create_options, read_create
from insula.cli.output import json_option, print_json, say
from insula.cli.session import Session
from insula.client import own_key
from insula.domain.instance import Instance
from insula.domain.names import check_name
from insula.domain.operation import Operation


@click.command()
@click.argument("name")
@create_options
@wait_option
@json_option
@click.pass_obj
def create(session: Session, /, name: str, no_wait: bool, as_json: bool, **given: Any) -> None:
    """Create an instance and start it."""
    operation = ask(session, name, read_create(given))
    if no_wait:
        if as_json:
            print_json(operation)
        else:
            click.echo(operation.id)
        return
    made = await_instance(session, operation, quiet=as_json)
    if as_json:
        print_json(made)
        return
    say(f"{made.name} is running" + (f"; log in: insula ssh {made.name}" if made.ssh_port else ""))


def ask(session: Session, /, name: str, wish: CreateWish) -> Operation:
    """Ask the service for an instance, with the user's own keys unless they are not wanted."""
    check_name(name)
    keywords = dict(wish.keywords)
    if wish.own_key:
        keywords["ssh_keys"] = [*keywords["ssh_keys"], *own_key.public_keys(session.settings.home)]
    operation = session.client.instances.create(name, **keywords)
    if warning := operation.params.get("warning"):
        say(f"Warning: {warning}")
    return operation


def await_instance(session: Session, operation: Operation, *, quiet: bool = False) -> Instance:
    """Follow a create to its end. Raises the operation's own error."""
    done = follow(session.client, operation, quiet=quiet)
    return session.client.instances.get(done.target)

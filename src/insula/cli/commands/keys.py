"""key: add, list, remove."""

from __future__ import annotations

import click

from insula.cli.options import read_key, read_text
from insula.cli.output import ago, json_option, print_json, print_table, say
from insula.cli.session import Session


@click.group()
def key() -> None:
    """SSH keys that instances can be given by name."""


@key.command()
@click.argument("name")
@click.argument("file")
@json_option
@click.pass_obj
def add(session: Session, name: str, file: str, as_json: bool) -> None:
    """Store a public key: insula key add laptop ~/.ssh/id_ed25519.pub (- reads standard input)."""
    text = read_text("-", "FILE") if file == "-" else read_key(file if "/" in file or " " in file else f"./{file}")
    made = session.client.keys.add(name, text.strip())
    if as_json:
        print_json(made)
        return
    say(f"Key {made.name} is stored: {made.fingerprint}")


@key.command("list")
@json_option
@click.pass_obj
def list_(session: Session, as_json: bool) -> None:
    """List stored keys."""
    found = session.client.keys.list()
    if as_json:
        print_json(found)
        return
    rows = [(each.name, each.fingerprint, ago(each.created_at)) for each in found]
    print_table(("NAME", "FINGERPRINT", "ADDED"), rows, empty="No key is stored. Add one: insula key add NAME FILE")


@key.command()
@click.argument("name")
@click.argument("new_name")
@click.pass_obj
def rename(session: Session, name: str, new_name: str) -> None:
    """Give a stored key another name."""
    session.client.keys.rename(name, new_name)
    say(f"Key {name} is now {new_name}")


@key.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove a stored key; instances that have it keep it."""
    session.client.keys.delete(name)
    say(f"Key {name} is removed")

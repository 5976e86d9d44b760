"""ssh."""

from __future__ import annotations

import os

import click

from insula.base.run import find_program
from insula.cli.session import Session
from insula.client.ssh_line import arguments


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("instance")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", "-u", default="root", help="The user to log in as (root).")
@click.pass_obj
def ssh(session: Session, instance: str, command: tuple[str, ...], user: str) -> None:
    """Log in to an instance, or run a command there, over SSH."""
    words = arguments(session.client, session.client.instances.get(instance), user=user)
    log_in(session, [*words, *(command[1:] if command[:1] == ("--",) else command)])


def log_in(session: Session, words: list[str]) -> None:
    """Become ssh; does not return."""
    session.close()
    os.execv(find_program("ssh"), words)  # noqa: S606 - no shell takes part; the terminal is ssh's from here on

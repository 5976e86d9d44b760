"""version and completion."""

from __future__ import annotations

import click

from insula import __version__
from insula.base.errors import Unavailable
from insula.cli.output import json_option, print_json, say
from insula.cli.session import Session

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@json_option
@click.pass_obj
def version(session: Session, as_json: bool) -> None:
    """Show the versions of the command line and of the service."""
    try:
        service = str(session.client.health()["version"])
    except Unavailable:
        service = ""
    if as_json:
        print_json({"insula": __version__, "service": service or None})
        return
    click.echo(f"insula {__version__}")
    if service and service != __version__:
        say(f"The service runs {service}; restart it to have the same: insula service stop && insula service start")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the shell code that completes commands.

    For bash: insula completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from insula.cli.program import program  # noqa: PLC0415 - it imports us

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice above names only what click knows
    click.echo(kind(program, {}, "insula", "_INSULA_COMPLETE").source())

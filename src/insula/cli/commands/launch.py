"""launch: from nothing to a root shell. The distribution's packages were seen to by ./insula before Python started."""

from __future__ import annotations

import time
from typing import Any

import click

from insula.cli.commands.create import ask, await_instance
from insula.cli.commands.ssh import log_in
from insula.cli.follow import follow
from insula.cli.options import create_options, read_create
from insula.cli.output import json_option, print_json, say, took
from insula.cli.session import Session
from insula.client.ssh_line import arguments, as_text
from insula.domain.image import DEFAULT_IMAGE, ImageState


@click.command()
@click.argument("name")
@create_options
@click.option("--yes", "-y", is_flag=True, help="Install missing distribution packages without asking.")
@click.option("--shell", is_flag=True, help="Log in at the end.")
@json_option
@click.pass_obj
def launch(session: Session, /, name: str, yes: bool, shell: bool, as_json: bool, **given: Any) -> None:
    """From nothing to a root shell: set up, start the service, create an instance."""
    began = time.monotonic()
    wish = read_create(given)
    session.client.ensure_service(on_start=lambda: say("Starting the service"))
    if not wish.snapshot:  # which keeps what it is based on
        prepare_image(session, wish.image, quiet=as_json)
    say(f"Creating {name}")
    instance = await_instance(session, ask(session, name, wish), quiet=as_json)
    words = arguments(session.client, instance) if instance.ssh_port else []
    say(f"{name} is running, {took((time.monotonic() - began) * 1000)} after you asked")
    if as_json:
        print_json({"instance": instance, "ssh": as_text(words)})
        return
    if shell and words:
        log_in(session, words)
    if words:
        say(f"Log in with `insula ssh {name}`, or:")
        click.echo(as_text(words))


def prepare_image(session: Session, image: str, *, quiet: bool) -> None:
    """Build or download the image first, with its own progress, so that the create shows the boot alone."""
    found = session.client.images.get(image or DEFAULT_IMAGE)
    if found.state is ImageState.READY:
        return
    say(f"Preparing the image {found.name} ({found.title}); this is done once")
    follow(session.client, session.client.images.prepare(found.reference), quiet=quiet)

"""service: start, stop, status, logs, run, install."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import click

from insula.base.errors import InsulaError, Unavailable
from insula.cli import systemd_unit
from insula.cli.output import json_option, print_fields, print_json, say
from insula.cli.session import Session
from insula.client import service_process
from insula.protocol.service_record import log_path, read_record

_FOLLOW_EVERY_S = 0.3


@click.group()
def service() -> None:
    """The service: start, stop, status, logs."""


@service.command()
@click.pass_obj
def start(session: Session) -> None:
    """Start the service in the background and wait until it answers.

    While there is no account, it also shows a link where the first one is made with a browser.
    """
    was = read_record(session.settings.home)
    record = service_process.start(session.settings)
    say(f"The service {'runs already' if was else 'runs'}: process {record.pid}, {record.listen}")
    if session.settings.is_local:
        # There is an owner already, or whatever else it may be: the service runs all the same.
        with contextlib.suppress(InsulaError):
            path = session.client.users.first_link()
            say(f"Make the first account, once and within 24 hours, at {session.web_url}{path}")


@service.command()
@click.pass_obj
def stop(session: Session) -> None:
    """Stop the service; instances keep running."""
    record = service_process.stop(session.settings)
    say("The service does not run" if record is None else f"The service (process {record.pid}) is stopped")


@service.command()
@json_option
@click.pass_obj
def status(session: Session, as_json: bool) -> int:
    """Say whether the service runs and answers. The exit status is 7 when it does not."""
    record = read_record(session.settings.home) if session.settings.is_local else None
    answer: dict[str, str] = {}
    problem = ""
    try:
        answer = session.client.health()
    except Unavailable as error:
        problem = f"{error.what}: {error.why}"
    found = {
        "state": "running" if answer else ("not answering" if record else "stopped"),
        "version": answer.get("version", ""),
        "process": str(record.pid) if record else "",
        "listens on": f"{record.listen}, {session.settings.socket_path}" if record else "",
        "home": str(session.settings.home) if session.settings.is_local else "",
        "url": session.settings.url,
        "problem": problem,
    }
    if as_json:
        print_json({name.replace(" ", "_"): value for name, value in found.items()})
    else:
        print_fields(found)
    return 0 if answer else 7


@service.command()
@click.option("--lines", "-n", default=50, metavar="N", help="How many of the last lines (50).")
@click.option("--follow", "-f", "follow_", is_flag=True, help="Go on with what is written from now on.")
@click.pass_obj
def logs(session: Session, lines: int, follow_: bool) -> None:
    """Show the service's log: one JSON object a line."""
    path = log_path(session.settings.home)
    for line in service_process.tail(session.settings.home, lines):
        click.echo(line)
    if follow_:
        _follow(path)


def _follow(path: Path) -> None:
    """Print what is appended, across rotations, until Ctrl-C."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        time.sleep(_FOLLOW_EVERY_S)
        if not path.exists():
            continue
        if path.stat().st_size < position:
            position = 0
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
        position += len(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@service.command()
@click.pass_obj
def run(session: Session) -> None:
    """Run the service in the foreground, with its log on the terminal; Ctrl-C stops it."""
    words = [sys.executable, "-I", "-m", "insula.main", "serve"]
    os.execve(words[0], words, {**os.environ, **service_process.environment(session.settings)})  # noqa: S606 - no shell


@service.command()
@click.option("--print", "print_only", is_flag=True, help="Print the unit and change nothing.")
@click.pass_obj
def install(session: Session, print_only: bool) -> None:
    """Write a systemd unit that starts the service at boot."""
    text = systemd_unit.unit(session.settings)
    if print_only:
        click.echo(text, nl=False)
        return
    path, commands = systemd_unit.install(text)
    say(f"Wrote {path}. Now start it, at once and at every boot:")
    for command in commands:
        say(f"  {command}")

"""console."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from insula.base.errors import InvalidInput
from insula.cli.output import say
from insula.cli.session import Session

if TYPE_CHECKING:
    from insula.client.websocket import WebSocket

_LEAVE = b"\x1d"  # Ctrl-]
_READ_BYTES = 4096


@click.command()
@click.argument("instance")
@click.option("--log", "log_only", is_flag=True, help="Print what the console showed so far, and return.")
@click.option("--bytes", "max_bytes", default=65536, metavar="N", help="How much of the log at most (65536).")
@click.pass_obj
def console(session: Session, instance: str, log_only: bool, max_bytes: int) -> None:
    """Attach to an instance's serial console, or show what it printed.

    Ctrl-] leaves.
    """
    if log_only:
        sys.stdout.buffer.write(session.client.guest.console_log(instance, max_bytes=max_bytes))
        sys.stdout.buffer.flush()
        return
    if not sys.stdin.isatty():
        raise InvalidInput(
            "The console needs a terminal",
            why="Standard input is none",
            todo=f"To read what it printed: insula console {instance} --log",
            code="no-terminal",
        )
    stream = session.client.guest.attach(instance)
    say(f"Connected to {instance}. Ctrl-] leaves.")
    try:
        with _raw_terminal():
            _relay(stream)
    finally:
        stream.close()
    say("\nleft the console")


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _relay(stream: WebSocket) -> None:
    """Both ways until one end closes or Ctrl-] is pressed."""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready = [stream] if stream.pending else select.select([keyboard, stream], [], [])[0]
        if stream in ready:
            data = stream.read()
            if not data:
                return
            os.write(screen, data)
        if keyboard in ready:
            typed = os.read(keyboard, _READ_BYTES)
            before, leave, _ = typed.partition(_LEAVE)
            if before:
                stream.write(before)
            if leave or not typed:
                return

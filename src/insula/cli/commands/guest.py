"""exec and cp: what reaches inside an instance through its agent."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from insula.base.errors import InvalidInput
from insula.cli.output import json_option, print_json, say
from insula.cli.session import Session

_CHUNK_BYTES = 65536
_STDIN_LIMIT_BYTES = 16 * 1024 * 1024


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("instance")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--timeout", "timeout_s", default=60.0, metavar="SECONDS", help="Give up after so long (60).")
@click.option("--stdin", "with_stdin", is_flag=True, help="Send our standard input to the program.")
@json_option
@click.pass_obj
def exec_(
    session: Session, instance: str, command: tuple[str, ...], timeout_s: float, with_stdin: bool, as_json: bool
) -> int:
    """Run a program as root inside an instance.

    Options go before INSTANCE; the exit status is the program's own: insula exec web1 -- ls -l /
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise InvalidInput("There is no program to run", todo=f"Write it like: insula exec {instance} -- id")
    stdin = sys.stdin.buffer.read(_STDIN_LIMIT_BYTES + 1) if with_stdin else b""
    if len(stdin) > _STDIN_LIMIT_BYTES:
        raise InvalidInput(
            "The standard input is too long",
            why=f"It may have {_STDIN_LIMIT_BYTES // 1024 // 1024} MiB",
            todo=f"Copy it first: insula cp FILE {instance}:/tmp/",
        )
    result = session.client.guest.execute(instance, words, stdin=stdin, timeout_s=timeout_s)
    if as_json:
        print_json(result)  # bytes that are no UTF-8 are replaced; --json is for text
        return result.exit_code
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.buffer.flush()
    if result.truncated:
        say("insula: the output was too long and is cut; write it to a file inside and copy that out")
    return result.exit_code


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--mode", metavar="OCTAL", help="Mode of the new file, like 600; the source's otherwise.")
@click.pass_obj
def cp(session: Session, source: str, target: str, mode: str | None) -> None:
    """Copy a file into or out of an instance.

    One side is INSTANCE:/absolute/path: insula cp app.conf web1:/etc/app.conf. A lone - is standard input or output.
    """
    from_guest, to_guest = _split(source), _split(target)
    if bool(from_guest) == bool(to_guest):
        raise InvalidInput(
            "One side must be in an instance, the other here",
            why=f"{source} and {target} are both {'in instances' if from_guest else 'here'}",
            todo="Write it like: insula cp app.conf web1:/etc/app.conf",
        )
    if to_guest:
        _copy_in(session, source, to_guest, mode)
    elif from_guest:
        _copy_out(session, from_guest, target, mode)


def _split(text: str) -> tuple[str, str] | None:
    """`web1:/path` → its parts; None for a path here (`./a:/b` is one too)."""
    instance, separator, path = text.partition(":")
    return (instance, path) if separator and path.startswith("/") and "/" not in instance else None


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    if not text or set(text) - set("01234567") or int(text, 8) > 0o7777:
        raise InvalidInput(f"--mode {text} is not a mode", why="It is an octal number", todo="Write it like --mode 644")
    return int(text, 8)


def _copy_in(session: Session, source: str, target: tuple[str, str], mode: str | None) -> None:
    instance, path = target
    if path.endswith("/"):
        path += "stdin" if source == "-" else Path(source).name
    wanted = _mode(mode)
    guest = session.client.guest
    if source == "-":
        content = iter(lambda: sys.stdin.buffer.read(_CHUNK_BYTES), b"")
        written = guest.write_file(instance, path, content, mode=0o644 if wanted is None else wanted)
    else:
        written = guest.upload(instance, Path(source), path, mode=wanted)
    say(f"{written} bytes to {instance}:{path}")


def _copy_out(session: Session, source: tuple[str, str], target: str, mode: str | None) -> None:
    instance, path = source
    if target == "-":
        for chunk in session.client.guest.read_file(instance, path):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    file = Path(target)
    if file.is_dir() or target.endswith("/"):
        file = file / path.rsplit("/", 1)[-1]
    written = session.client.guest.download(instance, path, file, mode=_mode(mode))
    say(f"{written} bytes to {file}")

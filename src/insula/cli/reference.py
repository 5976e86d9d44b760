"""Writes docs/cli.md from the commands themselves: `.venv/bin/python -m insula.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from insula.cli.entry import EXIT_CODES, INTERRUPTED
from insula.cli.program import program

_HEAD = """# The command line

This page is made from the commands; `insula COMMAND --help` shows the same. An instance, image, key or token is named
by its name or its id. Data goes to standard output, the rest to standard error. `--json` prints data for programs.

An error has three lines: what happened, `why`, and what to `do`. The exit status tells programs its kind:

| status | meaning |
|---|---|
| 0 | done |
"""


def reference() -> str:
    """The whole page."""
    meanings: dict[int, list[str]] = {}
    for _, code, meaning in EXIT_CODES:
        meanings.setdefault(code, []).append(meaning)
    table = "".join(f"| {code} | {'; '.join(texts)} |\n" for code, texts in sorted(meanings.items()))
    table += f"| {INTERRUPTED} | you pressed Ctrl-C; an operation that runs in the service goes on |\n\n"
    extra = "`insula exec` and `insula ssh` end with the status of the program that ran inside the instance.\n"
    return _HEAD + table + extra + "".join(_sections(program, "insula"))


def _sections(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield f"\n## {path} {name}\n\n{_text(command)}\n"
            yield from _sections(command, f"{path} {name}")
        elif command is not None:
            yield _section(command, f"{path} {name}")


def _section(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    rows = [parameter.get_help_record(context) for parameter in command.params]
    options = "".join(
        f"| `{names.replace('|', chr(92) + '|')}` | {text} |\n" for names, text in filter(None, rows) if text
    )
    table = f"\n| option | meaning |\n|---|---|\n{options}" if options else ""
    return f"\n### {path}\n\n    {usage}\n\n{_text(command)}\n{table}"


def _text(command: click.Command) -> str:
    return "\n".join(line.strip() for line in (command.help or "").splitlines())


if __name__ == "__main__":
    sys.stdout.write(reference())

"""How commands print: JSON for programs, plain tables for people, colour only on a terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from insula.base.clock import iso, now_utc
from insula.domain.instance import Instance

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

_STATE_COLOURS = {
    "running": "green",
    "attached": "green",
    "available": "green",
    "ready": "green",
    "succeeded": "green",
    "ok": "green",
    "failed": "red",
    "problem": "red",
    "stuck": "red",
    "stopped": "yellow",
    "note": "yellow",
    "cancelled": "yellow",
}


def plain(value: Any) -> Any:
    """Dataclasses, times, sets and bytes as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        data = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, Instance):
            data["ssh_port"] = value.ssh_port
        return data
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Columns as wide as they need to be. `empty` is what to say when there is no row."""
    lines = [[_one_line(cell) for cell in row] for row in rows]
    if not lines:
        click.echo(empty, err=True)
        return
    widths = [max(len(row[column]) for row in [list(head), *lines]) for column in range(len(head))]
    click.echo(_row([click.style(cell, bold=True) for cell in head], head, widths))
    for line in lines:
        click.echo(_row([coloured(cell) for cell in line], line, widths))


def _row(styled: Sequence[str], bare: Sequence[str], widths: Sequence[int]) -> str:
    cells = [text + " " * (width - len(cell)) for text, cell, width in zip(styled, bare, widths, strict=True)]
    return "  ".join(cells).rstrip()


def _one_line(text: str) -> str:
    # What a guest or a user wrote may hold control characters that would drive the terminal.
    return "".join(char if char.isprintable() else " " for char in text)


def coloured(word: str) -> str:
    """A state in its colour; other text as it is. click leaves colour out when the output is no terminal."""
    colour = _STATE_COLOURS.get(word)
    return click.style(word, fg=colour) if colour else word


def print_fields(fields: Mapping[str, str]) -> None:
    """One `name: value` a line; empty values are left out."""
    shown = {name: value for name, value in fields.items() if value}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name + ':':<{width + 1}} {coloured(_one_line(value))}")


def say(text: str) -> None:
    """A line for the person, on standard error, so that standard output stays for data."""
    click.echo(text, err=True)


def is_terminal() -> bool:
    """Whether a person watches what we say."""
    return sys.stderr.isatty()


def ago(moment: datetime | None) -> str:
    """A time as people say it: `3 min ago`."""
    if moment is None:
        return ""
    seconds = max(0.0, (now_utc() - moment).total_seconds())
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def expires(until: datetime | None) -> str:
    """When a lease ends, as people say it: `expires in 4 min`."""
    if until is None:
        return ""
    seconds = (until - now_utc()).total_seconds()
    if seconds <= 0:
        return "expired"
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"expires in {seconds / length_s:.0f} {unit}"
    return f"expires in {seconds:.0f} s"


def size(mib: float) -> str:
    """Memory or disk from MiB: `512 MiB`, `4 GiB`."""
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB"


def size_of(size_bytes: float) -> str:
    """What a file takes: `0.4 MiB`, `1.2 GiB`."""
    return f"{size_bytes / (1 << 30):.1f} GiB" if size_bytes >= 1 << 30 else f"{size_bytes / (1 << 20):.1f} MiB"


def took(milliseconds: float) -> str:
    """A duration: `12 ms`, `3.4 s`, `2 min 5 s`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 100_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"

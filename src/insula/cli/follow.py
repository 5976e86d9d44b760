"""Follow an operation live: each step, boot phase and progress as it happens, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from insula.base.errors import InsulaError
from insula.cli.output import is_terminal, say, took
from insula.domain.operation import Operation, OperationEvent

if TYPE_CHECKING:
    from insula.client import Client

wait_option = click.option("--no-wait", is_flag=True, help="Do not follow it: print the operation's id and return.")

_REPORT_EVERY_S = 10.0


def follow(client: Client, operation: Operation, *, quiet: bool = False) -> Operation:
    """Show what an operation does until it is over.

    Raises the operation's own error when it fails, and one with the code `interrupted` on Ctrl-C, which
    says how to go on.
    """
    show: Callable[[OperationEvent], None] | None = None
    display = None
    if not quiet:
        display = _Bar() if is_terminal() else _Lines()
        show = display.show
    try:
        return client.operations.wait(operation.id, on_event=show)
    except KeyboardInterrupt:
        raise InsulaError(
            "You stopped watching; the operation goes on",
            why=f"{operation.verb} of {operation.target_name or operation.target} runs in the service",
            todo=f"Watch it: insula operation watch {operation.id}. Stop it: insula operation cancel {operation.id}",
            code="interrupted",
        ) from None
    finally:
        if display is not None:
            display.close()


def describe(event: OperationEvent) -> str:
    """One finished thing as a line, empty for what is not worth one."""
    data = event.data or {}
    if event.kind == "phase":
        return f"{event.step or data.get('name', ''):<12} {took(float(data.get('took_ms', 0)))}"
    if event.kind == "step" and data.get("state") in {"done", "failed", "undone"}:
        word = {"done": "", "failed": " failed", "undone": " undone"}[str(data["state"])]
        return f"{event.step.replace('_', ' ')}{word}{_duration(data)}"
    return ""


def _duration(data: Any) -> str:
    milliseconds = float(data.get("took_ms") or 0)
    return f" ({took(milliseconds)})" if milliseconds >= 1 else ""


class _Lines:
    """For logs and pipes: a line per finished step, progress every ten seconds."""

    def __init__(self) -> None:
        self._reported_at = 0.0

    def show(self, event: OperationEvent) -> None:
        if event.kind == "progress":
            now = time.monotonic()
            if now - self._reported_at < _REPORT_EVERY_S:
                return
            self._reported_at = now
            percent = f"{event.percent:3d} %  " if event.percent >= 0 else ""
            say(f"  {percent}{event.message}")
        elif line := describe(event):
            say(f"  {line}")

    def close(self) -> None:
        """Nothing to tidy up."""


class _Bar:
    """For terminals: finished steps above, one live line with a bar or a spinner below."""

    def __init__(self) -> None:
        # Only where something is drawn: rich costs 60 ms.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, shown="")
        self._progress.start()

    def show(self, event: OperationEvent) -> None:
        if event.kind == "progress":
            known = event.percent >= 0
            self._progress.update(
                self._task,
                description=event.message[:60],
                total=100 if known else None,
                completed=max(event.percent, 0),
                shown=f"{event.percent} %" if known else "",
            )
            return
        if line := describe(event):
            self._progress.print(f"  {line}", highlight=False, markup=False)
        label = event.message or event.step.replace("_", " ")
        self._progress.update(self._task, description=label[:60], total=None, shown="")

    def close(self) -> None:
        self._progress.stop()

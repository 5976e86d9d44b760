"""The first thing that runs: answers `--version` at once, hands the rest to click, and words every error.

Exit status: see `EXIT_CODES`. Nothing heavy is imported here, since starting is most of what a short command costs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from insula import __version__
from insula.base.errors import (
    Cancelled,
    CapacityExceeded,
    Conflict,
    Forbidden,
    InsulaError,
    InvalidInput,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

USAGE_ERROR = 2
INTERRUPTED = 130

# First match counts. The table in docs/cli.md is made from this one.
EXIT_CODES: Sequence[tuple[type[InsulaError], int, str]] = (
    (InvalidInput, USAGE_ERROR, "the command or one of its values is wrong"),
    (NotFound, 3, "there is no such thing, or not in this project"),
    (Conflict, 4, "its state, its name or a running operation forbids it"),
    (Unauthenticated, 5, "the token is missing or wrong"),
    (Forbidden, 5, "the token may not do that"),
    (CapacityExceeded, 6, "the host or the quota cannot hold it"),
    (Unavailable, 7, "the service does not answer"),
    (RateLimited, 7, "too many requests"),
    (Unsupported, 8, "this host, driver or image cannot do it"),
    (Cancelled, 9, "the operation was cancelled"),
    (InsulaError, 1, "anything else went wrong"),
)


def exit_code(error: InsulaError) -> int:
    """The exit status that tells a script what kind of error it was."""
    if error.code == "interrupted":
        return INTERRUPTED
    return next(code for kind, code, _ in EXIT_CODES if isinstance(error, kind))


def show_error(error: InsulaError) -> None:
    """What happened, why and what to do, each on its line of standard error."""
    lines = [f"error: {error.what}"]
    if error.why:
        lines.append(f"  why: {error.why}")
    lines += [f"       {field}: {problem}" for field, problem in error.fields.items() if problem not in error.why]
    if error.todo:
        lines.append(f"   do: {error.todo}")
    sys.stderr.write("\n".join(lines) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status and never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        sys.stdout.write(f"insula {__version__}\n")
        return 0
    try:
        return _run(given)
    except InsulaError as error:
        show_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left (`insula list | head`). Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        show_error(_from_system(error))
        return 1


def _run(given: list[str]) -> int:
    # Only now: click costs 40 ms.
    import click  # noqa: PLC0415

    from insula.cli.program import program  # noqa: PLC0415

    try:
        result = program.main(given, prog_name="insula", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except click.UsageError as error:
        show_error(_from_usage(error))
        return USAGE_ERROR
    except click.ClickException as error:
        show_error(InsulaError(error.format_message()))
        return 1
    return result if isinstance(result, int) else 0


def _from_usage(error: object) -> InvalidInput:
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "insula"
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ") if context is not None else ""
    what = message.rstrip(".").replace("'", "")
    return InvalidInput(what, why=f"It is used like: {usage}" if usage else "", todo=f"Try: {path} --help")


def _from_system(error: OSError) -> InsulaError:
    if isinstance(error, PermissionError):
        todo = "Run it as the user who owns that, or choose another INSULA_HOME"
    else:
        todo = "Mend that and try again; `insula doctor` looks at the rest of the host"
    where = f" ({error.filename})" if error.filename else ""
    return InsulaError(f"The operating system refused{where}", why=error.strerror or str(error), todo=todo)

"""What `./test` runs: linters first, then pytest, whose summary is the last line.

Runs inside the private environment that `./test` made. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TOOLS = TOP / ".venv" / "bin"
sys.path.insert(0, str(TOP))  # the interpreter runs isolated: nothing but this checkout may be found

from tests import postgres  # noqa: E402 - after the path is set

LINTERS: Sequence[Sequence[str]] = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)
LINTER_TIMEOUT_S = 600
PROCESSORS = min(len(os.sched_getaffinity(0)), 4)  # more would not help: nearly all is over before the longest test is


def lint() -> bool:
    """Run all linters at once; print the output of those that complain. True when none does."""

    def check(argv: Sequence[str]) -> tuple[Sequence[str], subprocess.CompletedProcess[str], float]:
        began = time.monotonic()
        done = subprocess.run(
            [str(TOOLS / argv[0]), *argv[1:]],
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LINTER_TIMEOUT_S,
            check=False,
        )
        return argv, done, time.monotonic() - began

    clean = True
    with ThreadPoolExecutor(len(LINTERS)) as pool:
        for argv, done, took_s in pool.map(check, LINTERS):
            verdict = "ok" if done.returncode == 0 else "FAILED"
            print(f"{' '.join(argv)}: {verdict} ({took_s:.1f} s)", flush=True)
            if done.returncode != 0:
                clean = False
                print(done.stdout, flush=True)
    return clean


def pytest(arguments: Sequence[str], marks: str, environment: dict[str, str]) -> int:
    """Run pytest and return its exit status; no test at all counts as a failure (pytest's 5).

    Most tests wait more than they compute, so there are twice as many workers as processors; see conftest for machines.
    """
    command = [str(TOOLS / "python"), "-m", "pytest", "-n", str(2 * PROCESSORS), "--dist", "loadscope"]
    if marks:
        command += ["-m", marks]
    return subprocess.run(
        [*command, *arguments], cwd=TOP, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


def program(name: str, arguments: Sequence[str]) -> int:
    """Hand over to a test that is a program of its own, of the same arguments."""
    command = [str(TOOLS / "python"), "-m", f"tests.{name}", *arguments]
    return subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, check=False).returncode


def main(arguments: list[str]) -> int:
    if "--chaos" in arguments:
        arguments.remove("--chaos")
        if arguments[:1] == ["backup"]:
            return program("chaos.backup", arguments[1:])
        return program("chaos", arguments)
    if arguments[:1] == ["identity"]:
        return program("identity", arguments[1:])
    fast = "--fast" in arguments
    if fast:
        arguments.remove("--fast")
    if not lint():
        return 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INSULA_")}
    if fast:
        return pytest(arguments, "not vm and not postgres and not thorough", environment)
    if reason := postgres.available():
        print(f"No private PostgreSQL, its tests skip: {reason}", flush=True)
        return pytest(arguments, "", environment)
    with postgres.private_postgres() as url:
        return pytest(arguments, "", environment | {"INSULA_TEST_POSTGRES": url})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

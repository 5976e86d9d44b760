"""What every command costs before it does anything: the interpreter, the imports, one request."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.measure import Row, at_most, repeated
from tests.private_service import PrivateService

_TIMES = 15
_INSULA = Path(__file__).resolve().parent.parent / "insula"


def measure() -> list[Row]:
    """`insula --version` and `insula list` as whole processes, beside an interpreter that does nothing."""
    with PrivateService("fake") as service:

        def command(*arguments: str) -> None:
            subprocess.run([str(_INSULA), *arguments], env=service.environment, capture_output=True, check=True)

        version = repeated(lambda: command("--version"), _TIMES)
        listing = repeated(lambda: command("list"), _TIMES)
        python = repeated(lambda: subprocess.run([service.command[0], "-I", "-c", "pass"], check=True), _TIMES)
    return [
        at_most("`insula --version`", version, 80, "ms"),
        at_most("`insula list`, service running", listing, 250, "ms"),
        Row("python -I -c pass, for comparison", f"{sorted(python)[_TIMES // 2]:.0f} ms"),
    ]

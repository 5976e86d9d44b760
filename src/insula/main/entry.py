"""What the service's process does first: read its arguments and settings, then serve or examine the host.

An error goes to whom it may concern: as JSON to the one who started us and waits, and as text to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from insula.base import settings
from insula.base.errors import InsulaError
from insula.main.doctor import examine
from insula.main.readiness import Readiness
from insula.main.service import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after an orderly stop, 1 after an error that was told, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="insula.main", description="The service; `insula service` starts and stops it."
    )
    parser.add_argument("task", nargs="?", default="serve", choices=["serve", "doctor"])
    parser.add_argument("--ready-fd", type=int, default=-1, help="descriptor that is told `ready`, or the error")
    given = parser.parse_args(arguments)
    readiness = Readiness(given.ready_fd)
    try:
        found = settings.load()
        if given.task == "doctor":
            checks = asyncio.run(examine(found))
            sys.stdout.write(json.dumps([asdict(check) for check in checks]))
        else:
            asyncio.run(serve(found, readiness))
    except InsulaError as error:
        readiness.failed(error)
        sys.stderr.write(f"error: {error}\n")
        return 1
    except Exception as error:
        # A mistake of ours: whoever waits hears of it in words, the trace goes where our standard error goes.
        readiness.failed(
            InsulaError(
                "The service broke",
                why=f"{type(error).__name__}: {error}",
                todo="Please report it, with the end of INSULA_HOME/log/service-start.log",
            )
        )
        raise
    finally:
        readiness.close()
    return 0

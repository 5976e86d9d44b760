"""A tiny instance lives its whole life on real QEMU: as root in namespaces, and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.base.run import run
from tests.ordinary_user import command_as

from .life import Life

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

_ORDINARY_UID = 54_321
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_as_whoever_runs_the_tests(home: Path) -> None:
    times = await Life(home, free_port()).live()
    print(json.dumps(times))  # noqa: T201 - the measurements, seen with -s
    assert times["ready"] < 60_000


@pytest.mark.root
async def test_as_an_ordinary_user(home: Path) -> None:
    if not os.access(_ROOT, os.X_OK) or not all(parent.stat().st_mode & 0o001 for parent in _ROOT.parents):
        pytest.skip(f"other users cannot reach {_ROOT}")
    shutil.chown(home, _ORDINARY_UID, _ORDINARY_UID)
    argv = [
        *command_as(_ORDINARY_UID, _ORDINARY_UID),
        sys.executable,
        "-m",
        "tests.vm.life",
        str(home),
        str(free_port()),
    ]
    done = await run(argv, timeout_s=600, cwd=_ROOT, env={"HOME": str(home)})
    print(done.text)  # noqa: T201 - as above
    assert json.loads(done.text)["ready"] < 60_000

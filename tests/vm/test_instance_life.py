"""A tiny instance lives its whole life on real QEMU."""

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
from tests.ordinary_user import command_as, others_may_enter

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


async def test_the_whole_story(home: Path) -> None:
    """As an ordinary user where we may become one; as root others tell parts of it, through the service."""
    if os.geteuid() == 0 and others_may_enter(_ROOT):
        shutil.chown(home, _ORDINARY_UID, _ORDINARY_UID)
        user = command_as(_ORDINARY_UID, _ORDINARY_UID)
        argv = [*user, sys.executable, "-m", "tests.vm.life", str(home), str(free_port())]
        done = await run(argv, timeout_s=600, cwd=_ROOT, env={"HOME": str(home)})
        measured = json.loads(done.text)
    else:
        measured = await Life(home, free_port()).live()
    print(json.dumps(measured))  # noqa: T201 - seen with -s
    assert measured["ready"] < 60_000

"""Volumes of tiny instances on real QEMU."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.base.run import run
from tests.ordinary_user import command_as, others_may_enter

from .volume_story import VolumeStory

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

_ORDINARY_UID = 54_322
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path outside of /root and /tmp, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="insula-vm-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


async def test_the_whole_story(home: Path) -> None:
    """As an ordinary user where we may become one; as root others tell parts of it, through the service."""
    if os.geteuid() == 0 and others_may_enter(_ROOT):
        shutil.chown(home, _ORDINARY_UID, _ORDINARY_UID)
        user = command_as(_ORDINARY_UID, _ORDINARY_UID)
        argv = [*user, sys.executable, "-m", "tests.vm.volume_story", str(home)]
        done = await run(argv, timeout_s=600, cwd=_ROOT, env={"HOME": str(home)})
        measured = json.loads(done.text)
    else:
        measured = await VolumeStory(home).tell()
    print(json.dumps(measured))  # noqa: T201 - seen with -s
    assert measured["attach"] < 10_000

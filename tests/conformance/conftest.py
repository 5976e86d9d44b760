"""The drivers that every conformance test of drivers runs with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.rigs import FakeRig, QemuRig, Rig


@pytest.fixture(params=["fake", pytest.param("qemu", marks=pytest.mark.vm)])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    # Not pytest's own folder: that one is closed to the machines' unprivileged users.
    home = Path(tempfile.mkdtemp(prefix="insula-test-", dir="/var/tmp"))
    home.chmod(0o711)
    rig: Rig = FakeRig(home) if request.param == "fake" else QemuRig(home)
    yield rig
    rig.close()

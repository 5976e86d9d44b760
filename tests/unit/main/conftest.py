"""A folder whose path is short enough for Unix sockets (107 bytes), which pytest's own is not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="insula-", dir="/tmp"))
    yield place
    shutil.rmtree(place)

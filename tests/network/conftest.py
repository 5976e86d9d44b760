from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.network.world import World, can_have_spaces


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-space-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path / "space"


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    if not can_have_spaces():
        pytest.skip("needs a /dev/net/tun that we may open")
    world = World(folder)
    try:
        yield world
    finally:
        await world.end()

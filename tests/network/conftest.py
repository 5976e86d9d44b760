from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from insula.protocol.network import Way
from tests.network.host import SPACE, Host
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


@pytest.fixture
async def host(folder: Path) -> AsyncIterator[Host]:
    host = Host(folder.parent / "host")
    await host.open()
    await asyncio.sleep(0.2)
    try:
        yield host
    finally:
        host.close()


@pytest.fixture
async def routed(folder: Path, host: Host) -> AsyncIterator[World]:
    world = World(folder, host.side)
    try:
        await world.apply(SPACE, Way.ROUTED)
        await world.clear()
        await host.seen()
        yield world
    finally:
        await world.end()

"""One service for each module of tests: starting one takes longer than most tests."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.api.world import World, make_world
from tests.panel.browsing import Browsing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        async with make_world(Path(name)) as made:
            yield made


@pytest_asyncio.fixture(loop_scope="module")
async def browsing(world: World) -> AsyncIterator[Browsing]:
    """An administrator who is signed in."""
    async with Browsing.of(world) as made:
        yield made

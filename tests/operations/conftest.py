"""Operations run on both databases, over a node with the fake driver."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from insula.node.agent import Node
from tests.databases import KINDS
from tests.operations.control import Control, make_node, open_control
from tests.operations.databases import ready_database


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ready_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def folder() -> Iterator[Path]:
    """A node's folder with a short path: a Unix socket's name has room for 107 characters only."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[Node]:
    async with make_node(folder) as made:
        yield made


@pytest.fixture
async def control(database_url: str, node: Node) -> AsyncIterator[Control]:
    async with open_control(database_url, node) as opened:
        yield opened

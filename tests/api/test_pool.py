"""Creates that find a guest in the pool: who asks cannot tell, but for the time."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from insula.control.nodes.spec import node_spec
from insula.node.agent import Node
from tests.api.world import World, make_world
from tests.operations.control import POOL, fill_pool, make_node


@pytest.fixture
async def pooling() -> AsyncIterator[tuple[World, Node]]:
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        node = make_node(Path(name) / "node", POOL)
        async with make_world(Path(name), node=node) as world:
            first = await world.create("first", cold=True)
            await fill_pool(node, node_spec(first))
            yield world, node


async def test_a_create_takes_a_member(pooling: tuple[World, Node]) -> None:
    world, node = pooling
    members = frozenset(node._pool._waiting)
    made = await world.create("web1", hostname="web1.example.org")
    assert made.id in members
    assert [phase.name for phase in made.boot_phases] == ["adopt", "ready"]
    shown = await node.execute(made.id, ["hostname"], b"", 5)
    assert shown.stdout == b"web1.example.org\n"
    deleted = await world.finish(await world.admin("DELETE", f"/v1/instances/{made.id}"))
    assert deleted.state == "succeeded", deleted.error


@pytest.mark.parametrize("wish", [{"cold": True}, {"user_data": "#!/bin/sh\ntrue\n"}, {"plan": "entry-1"}])
async def test_who_wants_something_else_gets_none(pooling: tuple[World, Node], wish: dict[str, Any]) -> None:
    world, node = pooling
    members = frozenset(node._pool._waiting)
    made = await world.create("web1", **wish)
    assert made.id not in members

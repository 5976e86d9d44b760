"""The whole service with imaginary machines, in this very process: what the parts' own tests cannot see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt
from insula.base.settings import Settings, load
from insula.client import Client
from insula.domain.instance import InstanceState
from insula.main import home
from insula.main.wiring import wire


@pytest.fixture
def settings(short_folder: Path) -> Settings:
    found = load(
        {
            "INSULA_HOME": str(short_folder),
            "INSULA_LISTEN": "127.0.0.1:0",
            "INSULA_DRIVER": "fake",
            "INSULA_TEMPLATES": "asked",
        }
    )
    home.prepare(found.home)
    return found


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    stop, bound = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as parts:
        listen = await wire(settings, parts)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(listen(stop, lambda _address: bound.set()))
            await bound.wait()
            with Client(settings.url) as made:
                yield made
            stop.set()


async def test_an_instance_is_created_used_and_deleted(client: Client) -> None:
    def story() -> list[str]:
        operation = client.instances.create("web1", image="tiny", plan="micro-1")
        client.operations.wait(operation.id, timeout_s=10)
        assert client.instances.get("web1").state is InstanceState.RUNNING
        printed = client.guest.execute("web1", ["id"]).stdout
        client.operations.wait(client.instances.stop("web1").id, timeout_s=10)
        client.operations.wait(client.instances.delete("web1").id, timeout_s=10)
        return [printed.decode(), *(each.name for each in client.instances.list())]

    assert (await asyncio.to_thread(story))[0].startswith("uid=0(root)")
    assert await asyncio.to_thread(client.instances.list) == []


async def test_a_second_start_finds_what_the_first_left(settings: Settings) -> None:
    async with AsyncExitStack() as parts:
        await wire(settings, parts)
    assert (settings.home / "control" / "insula.sqlite").exists()
    async with AsyncExitStack() as parts:
        await wire(settings, parts)


async def test_a_corrupt_database_is_named(settings: Settings) -> None:
    Path(settings.home / "control" / "insula.sqlite").write_bytes(b"no database at all " * 100)
    with pytest.raises(DataCorrupt):
        async with AsyncExitStack() as parts:
            await wire(settings, parts)

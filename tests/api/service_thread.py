"""A service on a TCP port in a thread of its own, for testers that block."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from insula.domain.access import Scope
from insula.frontends.listen import serve
from tests.api.world import World, make_world

_START_S = 30.0


@dataclass
class Service:
    """Where it listens, what an administrator sends, and one of each thing."""

    url: str
    headers: dict[str, str]
    things: dict[str, str]


@contextlib.contextmanager
def service_thread() -> Iterator[Service]:
    """Runs until the block ends; an error of the service is raised there."""
    ready = threading.Event()
    found: list[Service] = []
    failed: list[BaseException] = []
    stoppers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def live(folder: Path) -> None:
        async with make_world(folder) as world:
            stop = asyncio.Event()
            stoppers.append((asyncio.get_running_loop(), stop))
            headers = {"Authorization": f"Bearer {await world.secret(Scope.ADMIN)}"}
            things = await _one_of_each(world)

            def on_ready(address: str) -> None:
                found.append(Service(f"http://{address}", headers, things))
                ready.set()

            await serve(
                world.app,
                host="127.0.0.1",
                port=0,
                socket_path=folder / "s.sock",
                stop=stop,
                closing=world.closing,
                on_ready=on_ready,
            )

    def work() -> None:
        with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
            try:
                asyncio.run(live(Path(name)))
            except BaseException as error:  # told to the waiting thread, which raises it
                failed.append(error)
                ready.set()
                raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(_START_S)
        assert not failed, failed
        yield found[0]
    finally:
        if stoppers:
            loop, stop = stoppers[0]
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
        thread.join(_START_S)


async def _one_of_each(world: World) -> dict[str, str]:
    instance = await world.create("target")
    operation = (await world.store.operations.list("default"))[0]
    volume = await world.create_volume("target")
    snapshot = await world.create_snapshot("target")
    ids = {"instance": instance.id, "volume": volume.id, "snapshot": snapshot.id, "operation": operation.id}
    return {**ids, "image": "tiny"}

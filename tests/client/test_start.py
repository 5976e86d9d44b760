"""A program that needs the local service starts it, whoever else does so at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from insula.base.errors import Unavailable
from insula.client import Client
from tests.private_service import PrivateService, free_port


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateService]:
    """A home without a service."""
    service = PrivateService("fake")
    for name, value in service.environment.items():
        if name.startswith("INSULA_"):
            monkeypatch.setenv(name, value)
    yield service
    service.stop()
    service.remove()


def test_several_that_start_it_at_once_find_one_service(stopped: PrivateService) -> None:
    started: list[int] = []

    async def notebook(number: int) -> str:  # where an event loop runs already
        with Client() as client:
            client.ensure_service(on_start=lambda: started.append(number))
            return str(client.health()["status"])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: asyncio.run(notebook(number)), range(4))) == ["ok"] * 4
    assert started
    pid = stopped.pid
    with Client() as client:
        client.ensure_service(on_start=lambda: pytest.fail("it runs already"))
    assert stopped.pid == pid


def test_the_service_of_somebody_else_is_not_started(stopped: PrivateService) -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Unavailable, match="cannot be reached"):
        client.sandbox()
    assert not (stopped.home / "run").exists()

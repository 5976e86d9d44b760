"""A service that listens, with a backup store and public addresses, for clients that know nothing of tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.api.service_thread import Service, service_thread

PATIENCE_S = 60.0


@contextmanager
def listening(backups: Path) -> Iterator[Service]:
    with service_thread() as found:
        store = {"name": "elsewhere", "kind": "folder", "path": str(backups)}
        pool = {"name": "public", "addresses": "203.0.113.0/28"}
        for path, body in (("backup-stores", store), ("address-pools", pool)):
            httpx.post(f"{found.url}/v1/{path}", json=body, headers=found.headers).raise_for_status()
        yield found


def token_of(service: Service) -> str:
    """An administrator's."""
    return service.headers["Authorization"].removeprefix("Bearer ")


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)

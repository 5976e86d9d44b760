"""One service with imaginary machines for each module of tests, found by `Client()` as users find theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.client import Client
from tests.private_service import PrivateService


@pytest.fixture(scope="module")
def service() -> Iterator[PrivateService]:
    with PrivateService("fake", {"INSULA_OVERCOMMIT_MEMORY": "100", "INSULA_OVERCOMMIT_VCPU": "100"}) as running:
        yield running


@pytest.fixture
def client(service: PrivateService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    for name, value in service.environment.items():
        if name.startswith("INSULA_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))  # no key of whoever runs the tests
    with Client() as made:
        yield made

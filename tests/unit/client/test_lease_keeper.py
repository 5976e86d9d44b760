"""A lease is renewed in time, through interruptions, and only as long as there is something to renew."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from insula.base.errors import Conflict, InsulaError, NotFound, Unavailable
from insula.client import lease_keeper
from insula.client.instances import Instances
from insula.client.lease_keeper import LeaseKeeper
from insula.client.sandbox import Sandbox

LEASE_S = 1  # the service's shortest is 10


class Service:
    """Notes renewals; `fails_with` is what it answers instead."""

    def __init__(self) -> None:
        self.renewed_at: list[float] = []
        self.asked = 0
        self.lease_until: str | None = "later"
        self.fails_with: InsulaError | None = None

    def get(self, _instance: str) -> Any:
        self.asked += 1
        if self.fails_with is not None:
            raise self.fails_with
        return SimpleNamespace(lease_until=self.lease_until)

    def lease(self, _instance: str, lease_s: int) -> None:
        assert lease_s == LEASE_S
        self.renewed_at.append(time.monotonic())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(lease_keeper, "_AGAIN_S", 0.05)
    return Service()


def keep(service: Service) -> LeaseKeeper:
    return LeaseKeeper(cast("Instances", service), "ins_1", LEASE_S)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_kept() -> bool:
    return any(thread.name == "lease of ins_1" for thread in threading.enumerate())


def test_it_is_renewed_thrice_in_its_length_until_it_is_told_to_stop(service: Service) -> None:
    began = time.monotonic()
    keeper = keep(service)
    until(lambda: len(service.renewed_at) == 3)
    keeper.stop()
    until(lambda: not is_kept())
    assert 0.9 < service.renewed_at[-1] - began < 2


def test_a_service_that_is_away_is_asked_again_soon(service: Service) -> None:
    service.fails_with = Unavailable("It restarts")
    keeper = keep(service)
    until(lambda: service.asked >= 4)
    service.fails_with = None
    back = time.monotonic()
    until(lambda: service.renewed_at != [])
    assert service.renewed_at[0] - back < 0.3
    keeper.stop()
    until(lambda: not is_kept())


@pytest.mark.parametrize("error", [NotFound("There is no instance"), Conflict("It is being deleted")])
def test_a_lost_lease_is_told_once(service: Service, error: InsulaError, caplog: pytest.LogCaptureFixture) -> None:
    service.fails_with = error
    with caplog.at_level(logging.WARNING):
        keep(service)
        until(lambda: service.asked == 1 and not is_kept())
    assert f"The lease of ins_1 is lost: {error}" in caplog.text


def test_a_lease_that_somebody_took_off_is_not_put_on_again(service: Service) -> None:
    service.lease_until = None
    keep(service)
    until(lambda: service.asked == 1 and not is_kept())
    assert service.renewed_at == []


def test_a_sandbox_that_is_dropped_is_not_kept(service: Service) -> None:
    nothing: Any = None
    dropped = Sandbox(nothing, nothing, keep(service), nothing)
    assert is_kept()
    del dropped
    gc.collect()
    until(lambda: not is_kept())

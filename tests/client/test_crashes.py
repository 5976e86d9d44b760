"""Callers and services that are killed with -9: sandboxes of the dead go, those of the living stay."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from insula.base.errors import NotFound
from insula.client import Client
from insula.domain.history import Metric
from tests.private_service import PrivateService

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]

LEASE_S = 10
GRACE_S = 60  # what the service leaves to everybody after its start
LATE_S = 20.0  # a look each second, the deletion, and a busy machine

CALLER = f"""
import signal, time
from insula.client import Client
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
with Client().sandbox(image="tiny", plan="micro-1", lease_s={LEASE_S}) as vm:
    print(vm.name, flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def caller(service: PrivateService) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A program that has a sandbox and holds it; the sandbox's name."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], env=service.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def names(client: Client) -> set[str]:
    return {each.name for each in client.instances.list()}


def seconds_until(holds: Callable[[], bool], within_s: float) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s
        time.sleep(0.1)
    return time.monotonic() - began


def test_a_caller_that_was_killed_loses_its_sandbox_within_the_lease(client: Client, service: PrivateService) -> None:
    with (
        caller(service) as (lost, killed),
        caller(service) as (kept, ended),
        client.sandbox(image="tiny", plan="micro-1", lease_s=LEASE_S) as vm,
    ):
        vm._stop_keeping()  # as if its thread had not been able to renew the lease
        killed.kill()
        took_s = seconds_until(lambda: lost not in names(client), LEASE_S + LATE_S)
        assert took_s > LEASE_S / 2
        assert kept in names(client)
        seconds_until(lambda: vm.name not in names(client), LATE_S)
        with pytest.raises(NotFound, match="Its lease ended before it was renewed"):
            vm.run("true")
        ended.send_signal(signal.SIGINT)
        seconds_until(lambda: kept not in names(client), LATE_S)


def test_a_service_that_was_killed_reaps_after_its_start_who_does_not_come_back(
    client: Client, service: PrivateService
) -> None:
    with caller(service) as (lost, killed), caller(service) as (kept, _):
        killed.kill()
        service.kill()
        time.sleep(LEASE_S + 2)
        service.start()
        started = time.monotonic()
        assert names(client) == {lost, kept}
        seconds_until(lambda: lost not in names(client), GRACE_S + LATE_S)
        assert time.monotonic() - started > GRACE_S - LATE_S
        time.sleep(LEASE_S + LATE_S)
        assert names(client) == {kept}
        assert client.instances.get(kept).state == "running"


def test_history_goes_on_after_the_service_was_killed(client: Client, service: PrivateService) -> None:
    name = client.instances.create("measured", image="tiny", plan="micro-1").target
    client.instances.wait(name)

    def measured() -> list[bool]:
        (cpu,) = client.instances.metrics(name, metrics=[Metric.CPU]).series
        return [value is not None for value in cpu.avg]

    seconds_until(lambda: sum(measured()) >= 2, 60)
    service.kill()
    service.start()
    before = sum(measured())
    assert before >= 2
    seconds_until(lambda: sum(measured()) >= before + 2, 60)
    known = measured()
    first, last = known.index(True), len(known) - known[::-1].index(True)
    assert all(known[first:last]), "the time without a service is a gap"

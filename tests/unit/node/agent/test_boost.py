"""A machine's processors are whole until its guest is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insula.base.errors import GuestFailure
from insula.domain.instance import Resources
from insula.node.agent import boost
from insula.node.hypervisor.driver import Machine, MachineSpec
from insula.node.hypervisor.fake.driver import FakeDriver, Faults
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import InstanceSpec

from .conftest import make_node, no_phase, quiet

_QUARTER = Resources(vcpus=2, memory_mib=128, disk_gib=1, cpu_percent=50)


@pytest.mark.parametrize(("promised", "started_with"), [(50, 200), (200, 200), (400, 400)])
def test_it_starts_with_at_least_whole_processors(promised: int, started_with: int) -> None:
    resources = replace(_QUARTER, cpu_percent=promised)
    assert boost.boosted(resources) == replace(resources, cpu_percent=started_with)


async def _ready() -> None:
    """It is, at once."""


async def _failed() -> None:
    raise GuestFailure("web1 did not become ready", code="kernel-panic")


@pytest.mark.parametrize(
    ("ready", "age_s"),
    [(_ready, 0.0), (_failed, 0.0), (lambda: asyncio.sleep(600), boost.LONGEST_S + 1)],
    ids=["ready", "never will be", "too late"],
)
async def test_it_ends(ready: Callable[[], Awaitable[Any]], age_s: float) -> None:
    class Limited(FakeMachine):
        def __init__(self) -> None:
            self.limits = None

        async def set_limits(self, resources: Resources) -> None:
            self.limits = resources

        @property
        def started_at_s(self) -> float:
            return time.time() - age_s

    machine = Limited()
    await asyncio.wait_for(boost.end_when(ready(), machine, lambda: _QUARTER, machine.started_at_s), 1)
    assert machine.limits == _QUARTER


async def test_an_instance_has_its_plans_processors_when_it_is_ready(
    folder: Path, new_spec: Callable[..., InstanceSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[MachineSpec] = []
    limits: list[Resources] = []

    def noted(spec: MachineSpec) -> Faults:
        started.append(spec)
        return Faults()

    async def set_limits(self: Machine, resources: Resources) -> None:
        limits.append(resources)

    monkeypatch.setattr(FakeMachine, "set_limits", set_limits)
    async with make_node(folder, FakeDriver(faults=noted)) as node:
        await node.prepare_image("tiny", quiet)
        spec = new_spec(resources=replace(_QUARTER, disk_gib=2))
        await node.configure(spec)
        await node.make_disk(spec)
        await node.start(spec.id)
        assert limits == []
        await node.await_ready(spec.id, 10, no_phase)
        await asyncio.sleep(0.05)
        assert started[0].resources.cpu_percent == 200
        assert limits == [spec.resources]

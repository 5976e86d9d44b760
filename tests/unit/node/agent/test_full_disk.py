"""Guests that stand still since the host's disk is full, and go on when it is not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from insula.node.agent import Node, life
from insula.node.agent.host import has_room
from insula.node.hypervisor.driver import MachineSpec
from insula.node.hypervisor.fake.driver import FakeDriver
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import InstanceReport, InstanceSpec, Power

from .conftest import make_node, no_phase, quiet

_NewSpec = Callable[..., InstanceSpec]


class Host(FakeDriver):
    """Its disk is full while `is_full`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True
        self.machine: FakeMachine | None = None

    async def start(self, spec: MachineSpec) -> FakeMachine:
        self.machine = await super().start(spec)
        return self.machine

    async def fill(self) -> None:
        assert self.machine is not None
        await self.machine.starve()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(life, "has_room", lambda folder: not host.is_full)
    monkeypatch.setattr(life, "_ROOM_CHECK_S", 0.01)
    return host


async def launched(node: Node, new_spec: _NewSpec) -> InstanceSpec:
    spec = new_spec()
    await node.configure(spec)
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)
    return spec


async def until(node: Node, power: Power) -> InstanceReport:
    async with asyncio.timeout(5):
        while (report := (await node.observe())[0]).power is not power:
            await asyncio.sleep(0.01)
    return report


async def test_a_guest_goes_on_when_there_is_room(node: Node, new_spec: _NewSpec, driver: Host) -> None:
    await launched(node, new_spec)
    await driver.fill()
    assert "disk is full" in (await until(node, Power.PAUSED)).problem
    await asyncio.sleep(0.1)
    assert (await until(node, Power.PAUSED)).problem
    driver.is_full = False
    assert (await until(node, Power.ON)).problem == ""


async def test_who_was_paused_meanwhile_stays_paused(node: Node, new_spec: _NewSpec, driver: Host) -> None:
    spec = await launched(node, new_spec)
    await driver.fill()
    await until(node, Power.PAUSED)
    await node.pause(spec.id)
    driver.is_full = False
    await asyncio.sleep(0.1)
    assert (await until(node, Power.PAUSED)).problem == ""


async def test_a_service_that_comes_back_sees_to_it(folder: Path, new_spec: _NewSpec, driver: Host) -> None:
    async with make_node(folder, driver) as node:
        await node.prepare_image("tiny", quiet)
        await launched(node, new_spec)
        await driver.fill()
        await until(node, Power.PAUSED)
    async with make_node(folder, driver) as node:
        assert "disk is full" in (await until(node, Power.PAUSED)).problem
        driver.is_full = False
        assert (await until(node, Power.ON)).problem == ""


@pytest.mark.parametrize(
    ("total_mib", "free_mib", "is_enough"),
    [(1000, 10, True), (1000, 9, False), (1 << 20, 256, True), (1 << 20, 255, False)],
)
def test_what_counts_as_room(monkeypatch: pytest.MonkeyPatch, total_mib: int, free_mib: int, is_enough: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (total_mib << 20, 0, free_mib << 20))
    assert has_room(Path("/")) is is_enough

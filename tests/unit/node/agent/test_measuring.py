from __future__ import annotations

from collections.abc import Callable

import pytest

from insula.base.errors import Unavailable
from insula.domain.history import Metric
from insula.node.agent import Node, measuring
from insula.node.hypervisor.driver import DiskCounts, ProcessUse
from insula.node.hypervisor.fake.machine import FakeMachine
from insula.protocol.node import InstanceSpec
from tests.unit.node.agent.conftest import no_phase

_OF_DISKS = {Metric.DISK_READ, Metric.DISK_WRITTEN, Metric.DISK_READS, Metric.DISK_WRITES}


async def _start(node: Node, spec: InstanceSpec) -> None:
    await node.make_disk(spec)
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)


async def test_whoever_runs_is_measured(node: Node, new_spec: Callable[..., InstanceSpec]) -> None:
    spec, other = new_spec(), new_spec(name="web2")
    await _start(node, spec)
    await node.configure(other)
    found = await node.measure()
    assert set(found.instances) == {spec.id}
    reading = found.instances[spec.id]
    assert set(reading.counters) >= {Metric.CPU, *_OF_DISKS}
    assert reading.gauges[Metric.MEMORY] > 0
    assert set(found.host.gauges) == {Metric.MEMORY, Metric.DISK_USED, Metric.LOAD}
    again = await node.measure()
    assert again.instances[spec.id].epoch == reading.epoch
    assert again.instances[spec.id].counters[Metric.CPU] > reading.counters[Metric.CPU]
    assert again.host.at_s > found.host.at_s
    await node.stop(spec.id, 0)
    assert (await node.measure()).instances == {}
    await node.start(spec.id)
    assert (await node.measure()).instances[spec.id].epoch != reading.epoch


async def test_disks_of_a_machine_that_rests_are_asked_once_a_minute(
    node: Node, new_spec: Callable[..., InstanceSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 1000.0, "cpu": 5.0}
    monkeypatch.setattr(measuring, "monotonic_s", lambda: clock["now"])
    monkeypatch.setattr(FakeMachine, "process_use", lambda _: ProcessUse(clock["cpu"], 1))
    spec = new_spec()
    await _start(node, spec)

    async def is_asked(passed_s: float, worked_s: float) -> bool:
        clock["now"] += passed_s
        clock["cpu"] += worked_s
        found = (await node.measure()).instances[spec.id].counters
        assert (set(found) >= _OF_DISKS) == bool(_OF_DISKS & set(found))
        return Metric.DISK_READ in found

    assert await is_asked(0, 0)
    assert [await is_asked(10, 0.05) for _ in range(6)] == [*[False] * 5, True]
    assert await is_asked(10, 1.0)
    assert not await is_asked(10, 0.0)


async def test_a_machine_whose_disks_do_not_answer_is_measured_all_the_same(
    node: Node, new_spec: Callable[..., InstanceSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: FakeMachine) -> DiskCounts:
        raise Unavailable("The machine does not answer")

    spec = new_spec()
    await _start(node, spec)
    monkeypatch.setattr(FakeMachine, "disk_counts", hang)
    found = (await node.measure()).instances[spec.id]
    assert not _OF_DISKS & set(found.counters)
    assert Metric.CPU in found.counters

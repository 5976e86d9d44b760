"""What instances and the host use, asked over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from insula.domain.history import Metric, Reading, node_subject
from tests.api.world import OTHER_PROJECT, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
_METRICS = "/v1/instances/{}/metrics"


async def measured(world: World, name: str, minutes: int = 10) -> str:
    """A running instance that has used a quarter of a processor for so long. Returns its id."""
    instance = await world.create(name)
    now_s = time.time()
    for number in range(minutes * 6 + 1):
        at_s = now_s - (minutes * 6 - number) * 10
        counters = {Metric.CPU: at_s / 4, Metric.DISK_WRITTEN: at_s * 4096}
        reading = Reading("past", at_s, counters, {Metric.MEMORY: 2.0**20})
        world.histories.note(instance.id, instance.project, reading, at_s)
    return instance.id


async def get(world: World, path: str, **query: Any) -> dict[str, Any]:
    answer = await world.admin("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_history_of_an_instance(world: World) -> None:
    instance_id = await measured(world, "history1")
    found = await get(world, _METRICS.format("history1"))
    assert (found["subject"], found["step_s"]) == (instance_id, 10)
    assert 360 <= len(found["times"]) <= 362
    shown = {one["metric"]: one for one in found["series"]}
    assert len(shown) == 10
    cpu = [value for value in shown["cpu_percent"]["avg"] if value is not None]
    assert 59 <= len(cpu) <= 62
    assert set(cpu) == {25}
    assert shown["cpu_percent"]["unit"] == "percent of a core"
    assert {value for value in shown["disk_written_bytes_per_s"]["max"] if value is not None} == {4096}
    assert set(shown["network_sent_bytes_per_s"]["avg"]) == {None}


async def test_a_span_a_step_and_metrics_may_be_chosen(world: World) -> None:
    await measured(world, "history2")
    since = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    found = await get(world, _METRICS.format("history2"), since=since, step=120, metrics="memory_bytes,cpu_percent")
    assert found["step_s"] == 120
    assert 15 <= len(found["times"]) <= 16
    assert [one["metric"] for one in found["series"]] == ["cpu_percent", "memory_bytes"]
    assert [value for value in found["series"][1]["avg"] if value is not None] == pytest.approx([2**20] * 6, abs=1)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"step": "15"}, "step"),
        ({"step": "10", "since": "2026-01-01T00:00:00Z"}, "step"),
        ({"since": "2199-01-01T00:00:00Z"}, "since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"metrics": "mood"}, "metrics"),
        ({"metrics": "load_1m"}, "metrics"),
    ],
)
async def test_what_cannot_be_had_is_refused(world: World, query: dict[str, str], field: str) -> None:
    if not await world.store.instances.of_project("default"):
        await world.create("history3")
    name = (await world.store.instances.of_project("default"))[0].name
    answer = await world.admin("GET", _METRICS.format(name), params=query)
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]


async def test_only_the_own_project_is_shown_also_when_the_instance_is_gone(world: World) -> None:
    instance_id = await measured(world, "history4")
    assert (await world.admin("GET", _METRICS.format(instance_id), OTHER_PROJECT)).status_code == 404
    await world.finish(await world.admin("DELETE", "/v1/instances/history4"))
    assert (await get(world, _METRICS.format(instance_id)))["subject"] == instance_id
    assert (await world.admin("GET", _METRICS.format(instance_id), OTHER_PROJECT)).status_code == 404
    assert (await world.admin("GET", _METRICS.format("history4"))).status_code == 404
    assert (await world.admin("GET", _METRICS.format(node_subject("local")))).status_code == 404


async def test_what_is_measured_now(world: World) -> None:
    instance = await world.create("history5")
    for _ in range(2):
        await world.recorder.look()
    items = {one["name"]: one for one in (await get(world, "/v1/use"))["items"]}
    assert set(items["history5"]["values"]) >= {"cpu_percent", "memory_bytes", "network_sent_bytes_per_s"}
    await world.finish(await world.admin("POST", "/v1/instances/history5/stop", json={"graceful_s": 0}))
    (host,) = (await get(world, "/v1/host/use"))["items"]
    assert host["name"] == "local"
    assert host["values"]["memory_bytes"] > 0
    found = await get(world, "/v1/host/metrics", metrics="load_1m")
    assert any(value is not None for value in found["series"][0]["avg"])
    assert instance.id not in (await world.control.node.measure()).instances

"""Metrics of droplets, asked as clients of DigitalOcean's API ask for them."""

from __future__ import annotations

import pytest

from insula.frontends.dialects.digitalocean import metrics
from tests.api.world import OTHER_PROJECT
from tests.dialects.contract import Contract
from tests.dialects.measuring import measured


async def story(contract: Contract, number: int) -> None:
    """Of a droplet that is called `measured`."""
    found = await contract.world.store.instances.get("default", "measured")
    now = await measured(contract.world, found.id)
    query = {"host_id": str(number), "start": str(now - 1800), "end": str(now)}
    idle, busy = (await contract.ask("monitoring_get_DropletCpuMetrics", params=query))["data"]["result"]
    assert (idle["metric"], busy["metric"]["mode"]) == ({"host_id": str(number), "mode": "idle"}, "user")
    grown = [float(line["values"][-1][1]) - float(line["values"][0][1]) for line in (idle, busy)]
    assert grown == pytest.approx([0.75 * 580, 0.25 * 580], rel=0.05)
    flow = {**query, "interface": "public", "direction": "inbound"}
    (line,) = (await contract.ask("monitoring_get_dropletBandwidthMetrics", params=flow))["data"]["result"]
    assert {value for _, value in line["values"]} == {"8.000"}
    for other in ({"interface": "private"}, {"direction": "outbound"}):
        shown = await contract.ask("monitoring_get_dropletBandwidthMetrics", params=flow | other)
        assert shown["data"]["result"] == []
    for name in metrics.EMPTY:
        assert (await contract.ask(name, params=query))["data"] == {"resultType": "matrix", "result": []}
    for wrong in ({"start": "yesterday"}, {"start": str(now + 99)}, {"end": "9e999"}):
        await contract.ask("monitoring_get_DropletCpuMetrics", status=422, params=query | wrong)
    await contract.ask("monitoring_get_DropletCpuMetrics", status=404, params=query | {"host_id": "1"})
    await contract.ask("monitoring_get_dropletBandwidthMetrics", status=422, params=query)
    stranger = await contract.world.admin("GET", "/v2/monitoring/metrics/droplet/cpu", OTHER_PROJECT, params=query)
    assert stranger.status_code == 404

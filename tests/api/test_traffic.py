"""What instances send and receive, asked over HTTP and on the command line's words for it."""

from __future__ import annotations

from typing import Any

import pytest

from insula.node.network.none import NoNetwork
from insula.protocol.network import PortTraffic, SpaceTraffic, Traffic
from tests.api.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_traffic_is_told_up_to_now_and_stays_when_counters_are_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await world.create("web1")
    network = world.control.node._parts.network
    assert isinstance(network, NoNetwork)
    shown: dict[str, Any] = {"sent": 0, "epoch": "one"}

    async def counted(space_id: str) -> SpaceTraffic:
        counts = PortTraffic(Traffic(3, shown["sent"]), Traffic(2, 200))
        return SpaceTraffic({instance.ports[0].id: counts}, epoch=shown["epoch"])

    monkeypatch.setattr(network, "space_traffic", counted)
    for sent, epoch, total in ((1000, "one", 1000), (1500, "one", 1500), (100, "two", 1600)):
        shown |= {"sent": sent, "epoch": epoch}
        answer = await world.admin("GET", "/v1/instances/web1/traffic?hours=2")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["total"]["sent_bytes"] == total
        assert sum(hour["counts"]["sent_bytes"] for hour in told["hours"]) == total
    assert (await world.admin("GET", "/v1/instances/web1/traffic?hours=0")).status_code == 422
    await world.finish(await world.admin("DELETE", "/v1/instances/web1"))
    assert (
        sum(row.counts.sent_bytes for row in await world.store.traffic.of_instance(instance.id, instance.created_at))
        == 1600
    )

"""Statistics of Linodes, asked as clients of Linode's API ask for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.dialects.contract import Contract
from tests.dialects.measuring import measured

_A_MONTHS_STEP_S = 2 * 3600


async def stats(contract: Contract, number: int) -> None:
    """Of a Linode that is there."""
    label = (await contract.ask("linodes.view", number))["label"]
    (found,) = [one for one in await contract.world.store.instances.of_project("default") if one.name == label]
    now = datetime.fromtimestamp(await measured(contract.world, found.id), UTC)
    for shown in (
        await contract.ask("linodes.stats", number),
        await contract.ask("linodes.stats-month", number, now.year, now.month),
    ):
        data = shown["data"]
        assert set(data) == {"cpu", "io", "netv4", "netv6"}
        assert {value for _, value in data["cpu"]} == {25}
        assert [value for _, value in data["netv4"]["in"]] == pytest.approx([8e6] * len(data["cpu"]))
        assert {value for _, value in data["io"]["io"]} == {5}
        assert data["io"]["swap"] == data["netv4"]["out"] == data["netv6"]["in"] == []
        assert 0 <= now.timestamp() - data["cpu"][-1][0] / 1000 <= _A_MONTHS_STEP_S
    assert (await contract.ask("linodes.stats-month", number, 2001, 1))["data"]["cpu"] == []
    for year, month in ((2026, 13), (1, 1), ("x", 1), (2037, 1)):
        await contract.ask("linodes.stats-month", number, year, month, status=400)

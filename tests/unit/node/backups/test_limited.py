"""A target that is sent no more than so much a second."""

from __future__ import annotations

import asyncio

import pytest

from insula.node.backups.limited import LimitedTarget, Pace

from .memory import MemoryTarget


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    monkeypatch.setattr("asyncio.sleep", clock.sleep)
    return clock


async def test_each_waits_until_those_before_have_had_their_time(clock: Clock) -> None:
    target = LimitedTarget(MemoryTarget(), Pace(1000))
    began_s = clock.now_s
    for number in range(4):
        await target.put(f"packs/{number}", bytes(500))
    assert clock.now_s - began_s == pytest.approx(1.5)


async def test_several_share_a_pace(clock: Clock) -> None:
    pace = Pace(1000)
    targets = [LimitedTarget(MemoryTarget(), pace) for _ in range(2)]
    began_s = clock.now_s
    for number in range(2):
        for target in targets:
            await target.put(f"packs/{number}", bytes(500))
    assert clock.now_s - began_s == pytest.approx(1.5)


async def test_time_in_which_nothing_was_sent_is_not_made_up_for(clock: Clock) -> None:
    target = LimitedTarget(MemoryTarget(), Pace(1000))
    await target.put("packs/0", bytes(500))
    clock.now_s += 60
    began_s = clock.now_s
    await target.put("packs/1", bytes(500))
    await target.put("packs/2", bytes(500))
    assert clock.now_s - began_s == pytest.approx(0.5)


async def test_all_else_goes_through() -> None:
    store = MemoryTarget()
    target = LimitedTarget(store, Pace(1e9))
    await target.put("packs/0", b"content")
    assert await target.get("packs/0", 3, 2) == b"te"
    assert [found.name async for found in target.list("packs/")] == ["packs/0"]
    await asyncio.wait_for(target.delete("packs/0"), 1)
    assert store.objects == {}
    await target.close()

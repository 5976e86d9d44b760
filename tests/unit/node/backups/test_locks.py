"""Locks that their holder could not remove are in nobody's way."""

from __future__ import annotations

import pytest

from insula.base.errors import Conflict, Unavailable
from insula.node.backups import locks
from tests.unit.node.backups.memory import MemoryTarget


class Flaky(MemoryTarget):
    """Goes away for deletes, or answers to no put though it was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    async def put(self, name: str, data: bytes) -> None:
        await super().put(name, data)
        if self.is_away:
            raise Unavailable("away")

    async def delete(self, name: str) -> None:
        if self.is_away:
            raise Unavailable("away")
        await super().delete(name)


async def test_one_that_was_left_when_the_store_was_away_bars_nobody() -> None:
    target = Flaky()
    async with locks.shared(target):
        target.is_away = True
    assert len(target.stored(locks.LOCKS)) == 1
    target.is_away = False
    async with locks.alone(target):
        assert len(target.stored(locks.LOCKS)) == 1
    assert target.stored(locks.LOCKS) == []


async def test_one_whose_answer_was_lost_bars_nobody() -> None:
    target = Flaky()
    target.is_away = True
    with pytest.raises(Unavailable):
        async with locks.shared(target):
            raise AssertionError("not reached")
    target.is_away = False
    async with locks.alone(target):
        pass
    assert target.stored(locks.LOCKS) == []


async def test_others_locks_bar_as_before() -> None:
    target = Flaky()
    async with locks.shared(target):
        with pytest.raises(Conflict, match="in use"):
            async with locks.alone(target):
                raise AssertionError("not reached")

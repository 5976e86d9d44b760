from __future__ import annotations

import asyncio
from functools import partial

import pytest

from insula.node.backups.turns import in_turns


async def test_no_more_at_once_than_asked_for_and_results_in_order() -> None:
    running, most = 0, 0

    async def job(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (5 - number))
        running -= 1
        return number

    assert await in_turns((partial(job, number) for number in range(5)), 2) == list(range(5))
    assert most == 2


async def test_the_first_error_ends_the_others() -> None:
    done: list[int] = []

    async def job(number: int) -> None:
        if number == 0:
            raise KeyError("first")
        await asyncio.sleep(0.01)
        done.append(number)

    with pytest.raises(KeyError, match="first"):
        await in_turns((partial(job, number) for number in range(4)), 2)
    await asyncio.sleep(0.03)
    assert done == []

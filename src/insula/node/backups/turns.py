"""Many requests to a target, some of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")

AT_ONCE = 8


async def in_turns(jobs: Iterable[Callable[[], Awaitable[_Result]]], at_once: int = AT_ONCE) -> list[_Result]:
    """What the jobs give, in their order. Raises the first error as it is; none of the others goes on then."""
    turns = asyncio.Semaphore(at_once)

    async def work(job: Callable[[], Awaitable[_Result]]) -> _Result:
        async with turns:
            return await job()

    tasks = [asyncio.create_task(work(job)) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))  # not a task group: it would wrap the error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

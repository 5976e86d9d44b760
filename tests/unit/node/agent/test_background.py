"""Work that outlives its caller, and work that its caller must see the end of."""

from __future__ import annotations

import asyncio
import threading

import pytest

from insula.node.agent.background import to_its_end


async def test_a_cancelled_caller_waits_for_the_thread() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(5)
        ended.set()

    caller = asyncio.create_task(to_its_end(work))
    await asyncio.to_thread(begun.wait, 5)
    caller.cancel()
    await asyncio.sleep(0.02)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_what_the_thread_returns_or_raises_is_passed_on() -> None:
    assert await to_its_end(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await to_its_end(int, "seven")

"""Tasks that run as long as the service does. One that breaks is logged and started again, ever more slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from insula.base.log import get_logger

_log = get_logger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class Background:
    """Keeps tasks of its own between entering and leaving; leaving cancels them and waits for their end."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until it returns, again whenever it raises."""
        self._tasks.append(asyncio.create_task(_keep(name, work), name=name))


async def _keep(name: str, work: Callable[[], Awaitable[None]]) -> None:
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            await work()
            return
        except Exception as error:  # noqa: BLE001 - whatever broke it, the service must not go on without this task
            _log.error("background task broke, starting it again", exc_info=error, task=name, after_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

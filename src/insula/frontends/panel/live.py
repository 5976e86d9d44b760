"""Tells open pages that something in their project has changed, so that they fetch themselves anew.

Pages wait for a bell. One task rings it for all of them: it compares two counters several times a second, which costs
next to nothing, and looks into the projects of open pages only when a counter has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from insula.base.errors import Forbidden, InsulaError
from insula.base.log import get_logger
from insula.control.actions import Actions
from insula.control.actions.caller import Caller

_log = get_logger(__name__)
LOOK_EVERY_S = 0.1
_NEWEST = 25  # operations
_MOST = 100_000  # instances


class _Project:
    """The open pages of one project. What they show is looked up as `caller`, the last one who came."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.pages = 0
        self.count = 0
        self.seen = 0
        self.bell = asyncio.Event()


class Pulse:
    """Runs a task while there is an open page."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._projects: dict[str, _Project] = {}
        self._task: asyncio.Task[None] | None = None

    def version(self) -> str:
        """What a page was made from; another one after any change of instances or operations."""
        return f"{self._actions.instances.version()}-{self._actions.operations.version()}"

    async def follow(self, caller: Caller, since: str) -> AsyncGenerator[int, None]:
        """A growing number whenever something in the caller's project has changed; never ends by itself.

        The first comes at once unless `since` is still the version.
        """
        project = self._projects.setdefault(caller.project, _Project(caller))
        project.caller = caller
        project.pages += 1
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            project.seen = project.seen or await self._digest(caller)
            told = project.count if since == self.version() else -1
            while True:
                bell = project.bell
                if project.count == told:
                    await bell.wait()
                told = project.count
                yield told
        finally:
            project.pages -= 1
            if project.pages == 0:
                del self._projects[caller.project]
            await self._rest()

    async def _rest(self) -> None:
        """End the task with the last page."""
        task = self._task
        if self._projects or task is None:
            return
        self._task = None
        task.cancel()
        await asyncio.wait({task})

    async def _look(self) -> None:
        before = ""
        while True:
            now = self.version()
            if now != before:
                before = now
                for project in list(self._projects.values()):
                    await self._compare(project)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _compare(self, project: _Project) -> None:
        try:
            seen = await self._digest(project.caller)
        except InsulaError as error:
            _log.warning("a project's pages cannot be kept current now", error=str(error))
            return
        if project.seen not in (0, seen):
            project.count += 1
            project.bell.set()
            project.bell = asyncio.Event()
        project.seen = seen

    async def _digest(self, caller: Caller) -> int:
        """Another number when pages of the project would show something else, as far as the caller may see it."""
        instances: tuple[object, ...] = ()
        operations: tuple[object, ...] = ()
        with contextlib.suppress(Forbidden):
            found = (await self._actions.instances.list(caller, limit=_MOST)).items
            instances = tuple((each.id, each.state, each.updated_at) for each in found)
        with contextlib.suppress(Forbidden):
            newest = (await self._actions.operations.list(caller, limit=_NEWEST)).items
            operations = tuple((each.id, each.state, each.updated_at, each.steps) for each in newest)
        return hash((instances, operations))

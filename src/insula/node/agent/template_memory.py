"""Templates' memories that are kept in the host's memory, ready to be mapped: the latest used, within a budget."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator

from insula.node.hypervisor.driver import GuestMemory
from insula.node.runtime import shared_memory
from insula.node.storage.template import Template


class TemplateMemories:
    """Sealed memories by their template's name. The latest used one stays open even when it is beyond the budget."""

    def __init__(self, budget_mib: int) -> None:
        self._budget_bytes = budget_mib << 20
        self._open: dict[str, int] = {}  # the latest used last
        self._guard = threading.Lock()
        self._loading = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are open, the latest used last."""
        return tuple(self._open)

    @property
    def size_mib(self) -> int:
        """The host's memory that they take."""
        with self._guard:
            return sum(map(shared_memory.taken_bytes, self._open.values())) >> 20

    @contextlib.asynccontextmanager
    async def lent(self, template: Template) -> AsyncIterator[GuestMemory]:
        """The memory, for a machine to be started with; loaded from disk when it is not open.

        Raises :class:`DataCorrupt` and OSError when that fails.
        """
        async with self._loading:
            while (descriptor := self._lend(template.name)) is None:
                await asyncio.to_thread(self._load, template)
        try:
            yield GuestMemory(descriptor, is_sealed=True)
        finally:
            os.close(descriptor)

    def keep(self, name: str, descriptor: int) -> None:
        """Take over a sealed memory; it belongs to this object from now on."""
        with self._guard:
            if name in self._open:
                os.close(descriptor)
            else:
                self._open[name] = descriptor
            self._close_beyond_budget()

    def drop(self, name: str) -> None:
        """Close one; machines that go on from it keep it. Nothing happens when it is not open."""
        with self._guard:
            descriptor = self._open.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        for name in self.names:
            self.drop(name)

    def _load(self, template: Template) -> None:
        # Kept from within the thread, so that a caller who gives up meanwhile leaves no descriptor behind.
        name = f"template-{template.key[:12]}"
        self.keep(template.name, shared_memory.load(name, template.memory, template.facts.memory_mib << 20))

    def _lend(self, name: str) -> int | None:
        with self._guard:
            descriptor = self._open.pop(name, None)
            if descriptor is None:
                return None
            self._open[name] = descriptor
            return os.dup(descriptor)  # what is closed meanwhile stays usable for who borrowed it

    def _close_beyond_budget(self) -> None:
        sizes = {name: shared_memory.taken_bytes(descriptor) for name, descriptor in self._open.items()}
        total_bytes = sum(sizes.values())
        for name in list(self._open)[:-1]:
            if total_bytes <= self._budget_bytes:
                return
            total_bytes -= sizes[name]
            os.close(self._open.pop(name))

"""The host's side of spaces that reach the outside through it. Needs root; touches nothing but what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from insula.base.errors import CapacityExceeded, HostFailure
from insula.base.log import get_logger
from insula.domain.network import Space
from insula.node.network.host_rules import DEVICES, MOST_SPACES, Transit, host_layout, host_table
from insula.node.network.layout import Layout, changes, observed
from insula.node.network.rules import table as tables
from insula.node.network.rules.table import Table
from insula.node.network.steward_link import StewardLink

_log = get_logger(__name__)

_FIRST = 2
_ALL_AT_ONCE = 1 << 30
# Forwarding, and that a reply may come in for the host's loopback, from where a forward was used.
_SETTINGS = (("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"))


class HostSide:
    """Connects spaces with the host's own namespace. `start` gives a steward that is there."""

    def __init__(self, start: Callable[[], Awaitable[StewardLink]]) -> None:
        self._start = start
        self._lock = asyncio.Lock()
        self._steward: StewardLink | None = None
        self._transits: dict[str, Transit] = {}
        self._holders: dict[str, int] = {}
        self._standing: tuple[Table, Layout, int] | None = None

    async def connect(self, space_id: str, number: int | None, holder: int) -> tuple[Transit, bool]:
        """The space's transit, which has `number` if it had one before, and whether its devices had to be made.

        Raises CapacityExceeded, HostFailure.
        """
        async with self._lock:
            before = self._transits.get(space_id)
            transit = before or Transit(space_id, self._free(number))
            self._transits[space_id] = transit
            self._holders[space_id] = holder
            is_new = await self._make_pair(transit, holder)
            await self._make()
            return transit, is_new

    async def set_doors(self, space_id: str, space: Space) -> None:
        """Forward the host's ports that lead into the space, and no others. Raises HostFailure."""
        async with self._lock:
            self._transits[space_id] = replace(self._transits[space_id], space=space)
            await self._make()

    async def disconnect(self, space_id: str) -> None:
        """Forget the space. Its devices go with its namespace. May be repeated."""
        async with self._lock:
            if self._transits.pop(space_id, None) is not None:
                self._holders.pop(space_id, None)
                await self._make()

    async def reconcile(self) -> tuple[str, ...]:
        """Bring back what somebody took away from the host's side; returns what that was."""
        async with self._lock:
            if self._standing is None:
                return ()
            steward = await self._ensure_steward()
            seen = await steward.ask("disturbed")
            if seen["generation"] != self._standing[2] and not await self._is_ours_intact(steward):
                self._standing = None
                await self._make()
                return ("host rules",)
            self._standing = (*self._standing[:2], int(seen["generation"]))
            if seen["disturbed"] and await self._mend_layout(steward):
                return ("host devices",)
            return ()

    def close(self) -> None:
        """Let go of it; it goes on by itself."""
        if self._steward is not None:
            self._steward.close()
            self._steward = None

    def _free(self, number: int | None) -> int:
        taken = {transit.number for transit in self._transits.values()}
        if number is not None and number not in taken:
            return number
        free = next((n for n in range(_FIRST, MOST_SPACES) if n not in taken), None)
        if free is None:
            raise CapacityExceeded(f"This host connects {MOST_SPACES} projects already", code="capacity-exceeded")
        return free

    async def _make_pair(self, transit: Transit, holder: int) -> bool:
        steward = await self._ensure_steward()
        found = await steward.ask("look")
        if transit.device in found["links"]:
            return False
        await steward.ask("change", changes=[("veth", transit.device, transit.uplink.device, holder)])
        return True

    async def _make(self) -> None:
        """Others change the host's rules all the time, which is none of our business while ours are there."""
        steward = await self._ensure_steward()
        transits = list(self._transits.values())
        table, layout = host_table(transits), host_layout(transits)
        standing = self._standing
        if standing is not None:
            try:
                generation = await self._send(steward, list(tables.difference(standing[0], table)), standing[2])
                await self._mend_layout(steward)
            except HostFailure as error:
                _log.warning("the host's side of networks is made anew", why=error.why)
            else:
                self._standing = (table, layout, generation)
                return
        await steward.ask("set", settings=_SETTINGS)
        generation = await self._send(steward, list(tables.creation(table)), 0)
        await self._mend_layout(steward)
        self._standing = (table, layout, generation)

    async def _send(self, steward: StewardLink, units: list[tables.Unit], generation: int) -> int:
        for text in tables.transactions(units, _ALL_AT_ONCE):
            generation = int((await steward.ask("rules", text=text))["after"])
        return generation

    async def _mend_layout(self, steward: StewardLink) -> int:
        found = await steward.ask("look")
        # A pair goes with its space, and comes back when the space is made again.
        layout = host_layout(t for t in self._transits.values() if t.device in found["links"])
        todo = changes(observed(found, layout, (DEVICES,)), layout)
        localnet = [(f"ipv4/conf/{device}/route_localnet", "1") for device in layout.links]
        await steward.ask("change", changes=todo)
        await steward.ask("set", settings=localnet)
        return len(todo)

    async def _is_ours_intact(self, steward: StewardLink) -> bool:
        try:
            listing = await steward.ask("read-rules", text=f"list table inet {tables.NAME}\n")
        except HostFailure:
            return False
        wanted = self._standing[0] if self._standing is not None else Table()
        rules = sum(len(chain.rules) for chain in wanted.skeleton.values())
        return str(listing["output"]).count('"rule": {') == rules

    async def _ensure_steward(self) -> StewardLink:
        if self._steward is None or not self._steward.is_open:
            self._steward = await self._start()
        return self._steward

"""The host's side of spaces that reach the outside through it. Needs root; touches nothing but what is its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from insula.base.errors import CapacityExceeded, Conflict, HostFailure, Unsupported
from insula.base.log import get_logger
from insula.domain.instance import PortForward
from insula.domain.network import Space
from insula.node.network import foreign_rules, ports
from insula.node.network.host_rules import DEVICES, MOST_SPACES, Transit, host_layout, host_table
from insula.node.network.layout import Layout, changes, observed
from insula.node.network.resolvers import name_servers
from insula.node.network.rules import table as tables
from insula.node.network.rules.table import Table
from insula.node.network.steward_link import StewardLink

_log = get_logger(__name__)

_FIRST = 2
_ALL_AT_ONCE = 1 << 30
_LOCKS = Path("/run")


class HostSide:
    """Connects spaces with the host's own namespace. `start` gives a steward that is there.

    `require_free` raises for forwards whose ports somebody else on the host listens at. There is one at a time for each
    host, whatever services run there: the first that claims it.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[StewardLink]],
        require_free: Callable[[Iterable[PortForward]], None] = ports.require_free,
    ) -> None:
        self._start = start
        self.require_free = require_free
        self._claimed: int | None = None
        self._name_servers: tuple[str, ...] = ()
        self._is_held = False
        self._lock = asyncio.Lock()
        self._steward: StewardLink | None = None
        self._transits: dict[str, Transit] = {}
        self._holders: dict[str, int] = {}
        self._standing: tuple[Table, Layout, int] | None = None

    async def claim(self) -> None:
        """Become the one of this host. Raises Conflict where another service is, Unsupported, HostFailure."""
        self._claimed = await asyncio.to_thread(_lock)
        steward = await self._ensure_steward()
        listing = (await steward.ask("read-rules", text=foreign_rules.LIST_CHAINS))["output"]
        if closed := [chain for chain in foreign_rules.closed_chains(listing) if not foreign_rules.is_known(chain)]:
            raise _unsupported(
                f"{' '.join(closed[0])} drops what it is not told to forward", "Allow devices isv* there"
            )
        if not await self.name_servers():
            raise _unsupported("This host asks only itself for names", "Name another server in /etc/resolv.conf")

    async def name_servers(self) -> tuple[str, ...]:
        """Whom spaces can ask for names outside. Raises HostFailure."""
        steward = await self._ensure_steward()
        own = [text.partition("/")[0] for _, text in (await steward.ask("look"))["addresses"]]
        self._name_servers = await asyncio.to_thread(name_servers, own) or self._name_servers
        return self._name_servers

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Make what is asked for meanwhile in one go at the end, so that nobody's packets are dropped in between."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            async with self._lock:
                if self._transits:
                    await self._make()

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
                await (self._make() if self._transits else self._take_away())

    async def reconcile(self) -> tuple[str, ...]:
        """Bring back what somebody took away from the host's side; returns what that was."""
        async with self._lock:
            if self._standing is None:
                return ()
            steward = await self._ensure_steward()
            seen = await steward.ask("disturbed")
            if seen["generation"] != self._standing[2]:
                if not await self._is_ours_intact(steward):
                    self._standing = None
                    await self._make()
                    return ("host rules",)
                if await self._open_foreign(steward):
                    return ("ways through the rules of others",)
            self._standing = (*self._standing[:2], int(seen["generation"]))
            if seen["disturbed"] and (await self._mend_layout(steward))[1]:
                return ("host devices",)
            return ()

    def close(self) -> None:
        """Let go of it; it goes on by itself."""
        if self._steward is not None:
            self._steward.close()
            self._steward = None
        if self._claimed is not None:
            os.close(self._claimed)
            self._claimed = None

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
        if self._is_held:
            return
        steward = await self._ensure_steward()
        table = host_table(self._transits.values())
        standing = self._standing
        if standing is not None:
            try:
                generation = await self._send(steward, list(tables.difference(standing[0], table)), standing[2])
                layout, _ = await self._mend_layout(steward)
            except HostFailure as error:
                _log.warning("the host's side of networks is made anew", why=error.why)
            else:
                self._standing = (table, layout, generation)
                return
        await steward.ask("forwarding")
        generation = await self._send(steward, list(tables.creation(table)), 0)
        layout, _ = await self._mend_layout(steward)
        self._standing = (table, layout, generation)
        await self._open_foreign(steward)

    async def _take_away(self) -> None:
        """Nothing of ours stays where nobody is connected."""
        steward = await self._ensure_steward()
        await steward.ask("rules", text=f"add table inet {tables.NAME}\ndelete table inet {tables.NAME}\n")
        for chain, rules in await self._foreign(steward):
            if text := foreign_rules.closing(chain, rules):
                await steward.ask("rules", text=text)
        await self._mend_layout(steward)
        self._standing = None

    async def _open_foreign(self, steward: StewardLink) -> bool:
        """Whether others' chains had to be told to let our networks pass."""
        opened = False
        for chain, rules in await self._foreign(steward):
            if text := foreign_rules.opening(chain, rules):
                await steward.ask("rules", text=text)
                opened = True
        return opened

    async def _foreign(self, steward: StewardLink) -> list[tuple[foreign_rules.ChainName, str]]:
        listing = (await steward.ask("read-rules", text=foreign_rules.LIST_CHAINS))["output"]
        found = []
        for chain in filter(foreign_rules.is_known, foreign_rules.closed_chains(listing)):
            answer = await steward.ask("read-rules", text=foreign_rules.list_rules(chain))
            found.append((chain, str(answer["output"])))
        return found

    async def _send(self, steward: StewardLink, units: list[tables.Unit], generation: int) -> int:
        for text in tables.transactions(units, _ALL_AT_ONCE):
            generation = int((await steward.ask("rules", text=text))["after"])
        return generation

    async def _mend_layout(self, steward: StewardLink) -> tuple[Layout, int]:
        """What shall be there, and how much had to be changed."""
        found = await steward.ask("look")
        # A pair goes with its space, and comes back when the space is made again.
        there = [transit for transit in self._transits.values() if transit.device in found["links"]]
        layout = host_layout(there, [(str(device), str(text)) for device, text in found["addresses"]])
        todo = changes(observed(found, layout, (DEVICES,)), layout)
        settings = [(f"ipv4/conf/{device}/route_localnet", "1") for device in layout.links]
        settings += [(f"ipv6/conf/{device}/proxy_ndp", "1") for device, text in layout.proxies if ":" in text]
        await steward.ask("change", changes=todo)
        await steward.ask("set", settings=settings)
        if new := [words for what, *words in todo if what == "proxy"]:
            await steward.ask("announce", places=new)
        return layout, len(todo)

    async def _is_ours_intact(self, steward: StewardLink) -> bool:
        try:
            listing = await steward.ask("read-rules", text=f"list table inet {tables.NAME}\n")
        except HostFailure:
            return False
        wanted = self._standing[0] if self._standing is not None else Table()
        return await asyncio.to_thread(_has_all, str(listing["output"]), wanted)

    async def _ensure_steward(self) -> StewardLink:
        if self._steward is None or not self._steward.is_open:
            self._steward = await self._start()
        return self._steward


def _has_all(listing: str, wanted: Table) -> bool:
    """Whether what nft lists has as many rules and elements as the table. Blocking."""
    items = msgspec.json.decode(listing)["nftables"]
    groups = [item.get("set") or item.get("map") for item in items]
    found = {group["name"]: len(group.get("elem", ())) for group in groups if group}
    rules = sum("rule" in item for item in items)
    return rules == sum(len(chain.rules) for chain in wanted.skeleton.values()) and found == {
        name: len(group.elements) for name, group in wanted.groups.items()
    }


def _lock() -> int:
    """A descriptor that holds the claim. Network namespaces are told apart: each is a host of its own. Blocking."""
    number = Path("/proc/self/ns/net").stat().st_ino
    descriptor = os.open(_LOCKS / f"insula-networks-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict(
            "Another service connects networks with this host",
            why="Only one can manage the host's side of them",
            todo="Stop the other one, or use INSULA_NETWORK=user here",
            code="host-claimed",
        ) from error
    return descriptor


def _unsupported(why: str, todo: str) -> Unsupported:
    what = "Networks cannot reach the outside through this host"
    return Unsupported(what, why=why, todo=todo, code="no-routed-networks")

"""All spaces of a node: implements NetworkNode, and watches over what was made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from insula.base.errors import InsulaError, InvalidInput, NotFound
from insula.base.log import get_logger
from insula.domain.network import is_name
from insula.node.network.host_side import HostSide
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, SpaceReport, SpaceTraffic

_log = get_logger(__name__)

_LOOK_EVERY_S = 1.0


class Spaces:
    """Keeps each space in a folder of its own below `folder`.

    `uid_of` gives the user whose processes a space consists of, None for our own; `host` is there where spaces may
    reach the outside through the host.
    """

    def __init__(
        self, folder: Path, uid_of: Callable[[str], Awaitable[int | None]], host: HostSide | None = None
    ) -> None:
        self._folder = folder
        self._uid_of = uid_of
        self._host = host
        self._keepers: dict[str, SpaceKeeper] = {}
        self._problems: dict[str, str] = {}

    async def open(self) -> None:
        """Find the spaces that were made before, and mend what happened to them meanwhile."""
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        for path in sorted(self._folder.iterdir()):
            if is_name(path.name) and await (await self._keeper(path.name)).load() is None:
                await self.remove_space(path.name)  # a making that was cut off
        await self.look()

    def close(self) -> None:
        """Let go of all; they go on by themselves."""
        for keeper in self._keepers.values():
            keeper.close()
        if self._host is not None:
            self._host.close()

    async def watch(self) -> None:
        """Look after the spaces until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Mend once what is broken; what cannot be mended is told in the space's report."""
        for space_id, keeper in list(self._keepers.items()):
            try:
                mended = await keeper.reconcile()
            except (InsulaError, TimeoutError) as error:
                if self._problems.get(space_id) != str(error):
                    _log.error("a space cannot be mended", space=space_id, why=str(error))
                self._problems[space_id] = str(error)
            else:
                self._problems.pop(space_id, None)
                if mended:
                    _log.warning("a space was mended", space=space_id, what=mended)
        if self._host is not None:
            try:
                mended = await self._host.reconcile()
            except InsulaError as error:
                _log.error("the host's side of networks cannot be mended", why=str(error))
            else:
                if mended:
                    _log.warning("the host's side of networks was mended", what=mended)

    async def apply_space(self, order: SpaceOrder) -> SpaceReport:
        """See NetworkNode."""
        if not is_name(order.space.id):
            raise InvalidInput(f"{order.space.id!r} is no identifier", code="invalid-network")
        return await (await self._keeper(order.space.id)).apply(order)

    async def remove_space(self, space_id: str) -> None:
        """See NetworkNode."""
        if is_name(space_id):
            await (await self._keeper(space_id)).remove()
            self._keepers.pop(space_id, None)
            self._problems.pop(space_id, None)

    async def space_reports(self) -> tuple[SpaceReport, ...]:
        """See NetworkNode."""
        reports = []
        for space_id, keeper in self._keepers.items():
            report = await keeper.report(self._problems.get(space_id, ""))
            if report is not None:
                reports.append(report)
        return tuple(reports)

    async def space_traffic(self, space_id: str) -> SpaceTraffic:
        """See NetworkNode."""
        return await self._known(space_id).traffic()

    async def open_port(self, space_id: str, port_id: str) -> int:
        """The tap device of a port, open for a machine; the caller closes it. Raises NotFound, HostFailure."""
        return await self._known(space_id).open_port(port_id)

    def _known(self, space_id: str) -> SpaceKeeper:
        keeper = self._keepers.get(space_id)
        if keeper is None:
            raise NotFound(f"There is no space {space_id} on this node", todo="Look at the project's networks")
        return keeper

    async def _keeper(self, space_id: str) -> SpaceKeeper:
        keeper = self._keepers.get(space_id)
        if keeper is None:
            uid = await self._uid_of(space_id)
            keeper = self._keepers.setdefault(space_id, SpaceKeeper(self._folder / space_id, uid, self._host))
        return keeper

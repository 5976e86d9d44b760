"""All spaces of a node: implements InstanceNetwork, and watches over what was made."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from insula.base.errors import InsulaError, InvalidInput, NotFound, Unsupported
from insula.base.log import get_logger
from insula.domain.instance import PortForward
from insula.domain.network import Space, is_name
from insula.domain.port import Port
from insula.node.network import record, scratch
from insula.node.network.host_side import HostSide
from insula.node.network.keeper import SpaceKeeper
from insula.node.network.strays import end_strays
from insula.node.network.wiring import Wiring
from insula.node.runtime.uids import UidRange
from insula.protocol.network import PortTraffic, SpaceOrder, SpaceReport, SpaceTraffic, Way
from insula.protocol.node import Nic

_log = get_logger(__name__)

_LOOK_EVERY_S = 1.0
_SCRATCH = "scratch-"


class Spaces:
    """Keeps each space in a folder of its own below `folder`.

    `uids` gives the user whose processes a space consists of, without it they are our own; `host` is there where spaces
    may reach the outside through the host, if it can be claimed. `lacks` is what was found missing on this host.
    """

    name = "space"

    def __init__(
        self,
        folder: Path,
        uids: UidRange | None = None,
        host: HostSide | None = None,
        lacks: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._uids = uids
        self._host = host
        self._lacks = dict(lacks or {})
        self._keepers: dict[str, SpaceKeeper] = {}
        self._problems: dict[str, str] = {}

    async def open(self) -> None:
        """Find the spaces that were made before, and mend what happened to them meanwhile."""
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        await asyncio.to_thread(end_strays, self._folder.parent)
        await self._claim_host()
        for path in sorted(self._folder.iterdir()):
            if is_name(path.name) and await (await self._keeper(path.name)).load() is None:
                await self.remove_space(path.name)  # a making that was cut off
        async with self._host.together() if self._host is not None else contextlib.nullcontext():
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
        keeper = await self._keeper(order.space.id)
        way = await self._way(order, keeper) if order.way is Way.ANY else order.way
        if order.space.addresses and way is Way.USER:
            raise _no_addresses()
        return await keeper.apply(replace(order, way=way))

    async def remove_space(self, space_id: str) -> None:
        """See NetworkNode."""
        if is_name(space_id):
            await (await self._keeper(space_id)).remove()
            if self._uids is not None:
                await asyncio.to_thread(self._uids.release, self._folder / space_id)
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

    # Machines

    async def plug(self, folder: Path, nics: Sequence[Nic], uid: int | None) -> Wiring:
        """See InstanceNetwork."""
        await self.unplug(folder)
        wiring = Wiring()
        try:
            for number, nic in enumerate(nics, 1):
                if nic.space_id:
                    wiring.taps.append(await self._known(nic.space_id).open_port(nic.port_id))
                else:
                    wiring.taps.append(await scratch.make(folder / f"{_SCRATCH}{number}", nic.mac, uid))
        except BaseException:
            with wiring:
                await self.unplug(folder)
            raise
        return wiring

    async def open_card(self, nic: Nic) -> int:
        """See InstanceNetwork."""
        return await self._known(nic.space_id).open_port(nic.port_id)

    async def unplug(self, folder: Path) -> None:
        """See InstanceNetwork."""
        await record.end_processes(folder)  # of a version that had a network of its own for each machine
        for made in await asyncio.to_thread(lambda: list(folder.glob(f"{_SCRATCH}*"))):
            await SpaceKeeper(made, None).remove()

    async def reserve(self, space_id: str, instance_id: str, mac: str) -> Port:
        """See InstanceNetwork."""
        return await self._known(space_id).reserve(instance_id, mac)

    async def release(self, space_id: str, port: Port) -> None:
        """See InstanceNetwork."""
        if (keeper := self._keepers.get(space_id)) is not None:
            await keeper.release(port)

    def port(self, nic: Nic) -> Port | None:
        """See InstanceNetwork."""
        space = self.space(nic.space_id)
        return next((port for port in space.ports if port.id == nic.port_id), None) if space is not None else None

    def forwards(self, nics: Sequence[Nic]) -> tuple[PortForward, ...]:
        """See InstanceNetwork."""
        return tuple(
            item.forward
            for nic in nics
            if (space := self.space(nic.space_id)) is not None
            for item in space.forwards
            if item.port_id == nic.port_id
        )

    async def card_traffic(self) -> Mapping[str, PortTraffic]:
        """See InstanceNetwork."""
        found: dict[str, PortTraffic] = {}
        for space_id, keeper in list(self._keepers.items()):
            try:
                found |= await keeper.card_traffic()
            except InsulaError as error:
                _log.debug("cards cannot be counted", space_id=space_id, error=str(error))
        return found

    def epochs(self) -> Mapping[str, str]:
        """See InstanceNetwork."""
        return {space_id: keeper.epoch for space_id, keeper in self._keepers.items() if keeper.epoch}

    async def open_metadata(self, space_id: str) -> socket.socket:
        """See InstanceNetwork."""
        listener = socket.socket(fileno=await self._known(space_id).open_metadata())
        listener.setblocking(False)
        return listener

    def instance_at(self, space_id: str, address: str) -> str | None:
        """See InstanceNetwork."""
        keeper = self._keepers.get(space_id)
        return keeper.instance_at(address) if keeper is not None else None

    def space(self, space_id: str) -> Space | None:
        """See InstanceNetwork."""
        keeper = self._keepers.get(space_id)
        return keeper.order.space if keeper is not None and keeper.order is not None else None

    def missing(self) -> Mapping[str, str]:
        """See InstanceNetwork."""
        return self._lacks

    async def _claim_host(self) -> None:
        if self._host is None:
            return
        try:
            await self._host.claim()
        except InsulaError as error:
            _log.warning("networks reach the outside without the host", why=str(error))
            self._host.close()
            self._host = None

    async def _way(self, order: SpaceOrder, keeper: SpaceKeeper) -> Way:
        """What stands goes on as it is while it can: changing the way cuts every connection to the outside."""
        if self._host is None:
            return Way.USER
        before = await keeper.load()
        can_stay = before is not None and before.way is Way.USER and bool(before.space.ports)
        return Way.USER if can_stay and not order.space.addresses and await keeper.stands() else Way.ROUTED

    def _known(self, space_id: str) -> SpaceKeeper:
        keeper = self._keepers.get(space_id)
        if keeper is None:
            raise NotFound(f"There is no space {space_id} on this node", todo="Look at the project's networks")
        return keeper

    async def _keeper(self, space_id: str) -> SpaceKeeper:
        keeper = self._keepers.get(space_id)
        if keeper is None:
            uid = await asyncio.to_thread(self._user_of, self._folder / space_id)
            keeper = self._keepers.setdefault(space_id, SpaceKeeper(self._folder / space_id, uid, self._host))
        return keeper

    def _user_of(self, folder: Path) -> int | None:
        if self._uids is None:
            return None
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        return self._uids.claim(folder)


def _no_addresses() -> Unsupported:
    return Unsupported(
        "Addresses of the outside cannot lead to instances of this project here",
        why="Its networks reach the outside without the host's packet filter",
        todo="Run the service as root and without INSULA_NETWORK=user, and look at `insula doctor`",
        code="no-routed-networks",
    )

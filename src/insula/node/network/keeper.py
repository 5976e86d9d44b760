"""One space of a node: brought about, changed, watched and taken away, always from what is wanted as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.errors import Conflict, HostFailure, NotFound, Unsupported
from insula.base.log import get_logger
from insula.domain.network import Space
from insula.domain.port import Port
from insula.node.network import attendants, dnsmasq, orders, ports, record
from insula.node.network.attendants import Place
from insula.node.network.counting import cards_of, counts_in, traffic_of
from insula.node.network.host_rules import Transit
from insula.node.network.host_side import HostSide
from insula.node.network.layout import Layout, Uplink, changes, layout_of, observed
from insula.node.network.netlink import Netlink
from insula.node.network.rules import table as tables
from insula.node.network.rules.compile import Memory, compile_table, device_of
from insula.node.network.rules.skeleton import METADATA_ADDRESS
from insula.node.network.rules.table import Table
from insula.node.network.spares import Spares
from insula.node.network.steward_link import StewardLink
from insula.protocol.network import PortTraffic, SpaceOrder, SpaceReport, SpaceTraffic, Way

_log = get_logger(__name__)

WAY = "space"
# What an ordinary user may send to the kernel at once: 208 KiB by default, and a rule takes some six times its text.
_MOST_CHARS_OF_USERS = 24_000
_MOST_CHARS_OF_ROOT = 1 << 30
_METADATA_PORT = 80
# Limits are set again with every look, since nobody looks at them; an entry for a neighbour goes with a card that was
# plugged in anew.
_UNSEEN = frozenset({"limit", "redirect", "neighbour"})


@dataclass(frozen=True)
class _Standing:
    """What was made last, and the packet filter's generation then."""

    layout: Layout
    table: Table
    generation: int


class SpaceKeeper:
    """Keeps one space in `folder`. `uid` is whose processes it consists of, None for our own.

    `host` is the host's side for spaces that reach the outside through it; without it there are none.
    """

    def __init__(self, folder: Path, uid: int | None, host: HostSide | None = None) -> None:
        self._folder = folder
        self._host = host
        self._transit: Transit | None = None
        self._uid = uid
        self._processes = record.Processes(folder, WAY)
        self._lock = asyncio.Lock()
        self._steward: StewardLink | None = None
        self._standing: _Standing | None = None
        self._memory = Memory()
        self._laid_out: tuple[tuple[object, ...], Layout] | None = None
        self._mended: tuple[str, ...] = ()
        self._spares = Spares()
        self.order: SpaceOrder | None = None
        self.epoch = ""  # of the namespaces, which changes when they are made anew; empty until they are there

    async def load(self) -> SpaceOrder | None:
        """What was ordered last, also before a restart of the service."""
        if self.order is None:
            self.order = await asyncio.to_thread(orders.load_order, self._folder)
        return self.order

    async def apply(self, order: SpaceOrder) -> SpaceReport:
        """See NetworkNode.apply_space."""
        async with self._lock:
            before = await self.load()
            if before is not None and order.revision < before.revision:
                raise Conflict(
                    "The networks have changed since",
                    why=f"Revision {order.revision} was asked for, and {before.revision} stands",
                    todo="Look at the networks again and repeat",
                    code="old-revision",
                )
            require_free = self._host_side().require_free if order.way is Way.ROUTED else ports.require_free
            order = await asyncio.to_thread(orders.checked, order, before, require_free)
            await asyncio.to_thread(orders.save_order, self._folder, order)
            self.order = order
            self._spares.give_way_to(order.space)
            await self._make(order)
            return self._report(order)

    async def reserve(self, instance_id: str, mac: str) -> Port:
        """A port beside those that were ordered, in the first network. Raises NotFound, HostFailure."""
        async with self._lock:
            order = await self.load()
            if order is None or not order.space.networks:
                raise NotFound("There is no such network", todo="Look at the project's networks")
            port = self._spares.add(order.space, instance_id, mac)
            try:
                await self._make(order)
            except BaseException:
                self._spares.remove(port)
                raise
            return port

    async def release(self, port: Port) -> None:
        """Take a reserved port away that was not ordered meanwhile. May be repeated."""
        async with self._lock:
            order = await self.load()
            if self._spares.remove(port) and order is not None:
                await self._make(order)

    async def reconcile(self) -> tuple[str, ...]:
        """Bring back what somebody took away; returns what that was."""
        async with self._lock:
            order = await self.load()
            if order is None:
                return ()
            mended = await self._mend(order)
            self._mended += mended
            return mended

    async def open_port(self, port_id: str, *, offload: bool = True) -> int:
        """The tap device of the port, open for a machine; the caller closes it. Raises NotFound, HostFailure."""
        async with self._lock:
            order = await self.load()
            space = self._spares.beside(order.space) if order is not None else Space("")
            for port in space.ports:
                if port.id == port_id:
                    network = next(network for network in space.networks if network.id == port.network_id)
                    steward = await self._ensure_namespaces()
                    return await steward.ask_for_descriptor("tap", device=device_of(port, network), offload=offload)
        raise NotFound(f"There is no port {port_id}", todo="Look at the project's networks")

    async def open_metadata(self) -> int:
        """A socket that listens where guests ask for their metadata; the asker is who has the source address."""
        async with self._lock:
            steward = await self._ensure_namespaces()
            return await steward.ask_for_descriptor("listen", address=METADATA_ADDRESS, port=_METADATA_PORT)

    def instance_at(self, address: str) -> str | None:
        """Which instance has the address."""
        space = self._spares.beside(self.order.space) if self.order is not None else Space("")
        return next((port.instance_id for port in space.ports if address in {port.ipv4, port.ipv6}), None)

    async def traffic(self) -> SpaceTraffic:
        """See NetworkNode.space_traffic."""
        async with self._lock:
            order = await self.load()
            if order is None:
                raise NotFound("There is no such space", todo="Look at the project's networks")
            steward = await self._ensure_namespaces()
            answer = await steward.ask("read-rules", text=f"list counters table inet {tables.NAME}\n")
            devices = (await steward.ask("traffic"))["devices"]
            found = await asyncio.to_thread(lambda: traffic_of(order.space, counts_in(answer["output"]), devices))
            return replace(found, epoch=self.epoch)

    async def card_traffic(self) -> Mapping[str, PortTraffic]:
        """What each card has sent and received, by its port; nothing of a space that does not stand."""
        # Without the lock: what is being changed must not keep all others from being measured.
        if self.order is None or self._steward is None or not self._steward.is_open:
            return {}
        return cards_of(self.order.space, (await self._steward.ask("traffic"))["devices"])

    async def stands(self) -> bool:
        """Whether anything of it is there."""
        return await asyncio.to_thread(self._processes.lives, "holder")

    async def report(self, problem: str = "") -> SpaceReport | None:
        """What is there, with the problem that the caller knows of; None when nothing was ordered."""
        order = await self.load()
        return replace(self._report(order), problem=problem) if order is not None else None

    async def remove(self) -> None:
        """Take everything away. May be repeated."""
        async with self._lock:
            if self._host is not None and self.order is not None:
                await self._host.disconnect(self.order.space.id)
            self.close()
            self._standing = self.order = None
            self.epoch = ""
            await record.end_processes(self._folder)
            await asyncio.to_thread(shutil.rmtree, self._folder, True)

    def close(self) -> None:
        """Let go of it; it goes on by itself."""
        if self._steward is not None:
            self._steward.close()
            self._steward = None

    def _report(self, order: SpaceOrder) -> SpaceReport:
        return SpaceReport(order.space.id, order.revision, order.way, mended=self._mended)

    async def _make(self, order: SpaceOrder) -> None:
        order = replace(order, space=self._spares.beside(order.space))
        steward = await self._ensure_namespaces()
        place = await self._place()
        await self._ensure_way_out(order, place)
        await self._make_inside(steward, order)
        await self._ensure_names(order, place)
        if order.way is Way.USER:
            await attendants.set_doors(place, order.space)
        elif order.way is Way.ROUTED:
            await self._host_side().set_doors(order.space.id, order.space)

    async def _make_inside(self, steward: StewardLink, order: SpaceOrder) -> None:
        layout, table = await asyncio.to_thread(self._compile, order)
        standing = self._standing
        if standing is None:
            await self._make_anew(steward, layout, table)
            return
        try:
            units = tables.difference(standing.table, table)
            generation = await _send_rules(steward, units, standing.generation)
            if layout is not standing.layout:
                await steward.ask("change", changes=changes(standing.layout, layout))
        except HostFailure as error:
            # Somebody else was at work, so what stands has to be looked at.
            _log.warning("a space is made anew", space=order.space.id, why=error.why)
            await self._make_anew(steward, layout, table)
            return
        self._standing = _Standing(layout, table, generation)

    async def _place(self) -> Place:
        holder = await asyncio.to_thread(self._processes.entry, "holder")
        if holder is None:
            raise HostFailure("A network's namespaces are gone", todo="They are made again with the next change")
        place = Place(self._folder, self._uid, holder.pid)
        await asyncio.to_thread(place.prepare)
        return place

    async def _ensure_way_out(self, order: SpaceOrder, place: Place) -> bool:
        """Whether it had to be made; then its device is new, without addresses and routes."""
        if order.way is not Way.USER and await asyncio.to_thread(self._processes.lives, "slirp4netns"):
            await self._processes.end("slirp4netns")
        if order.way is Way.ROUTED:
            number = await asyncio.to_thread(orders.load_number, self._folder)
            self._transit, is_new = await self._host_side().connect(order.space.id, number, place.holder)
            if self._transit.number != number:
                await asyncio.to_thread(orders.save_number, self._folder, self._transit.number)
        elif order.way is Way.USER and not await asyncio.to_thread(self._processes.lives, "slirp4netns"):
            await self._processes.note(await attendants.start_slirp(place))
            is_new = True
        else:
            is_new = False
        if is_new:
            self._standing = None
        return is_new

    def _host_side(self) -> HostSide:
        if self._host is None:
            raise Unsupported(
                "Networks cannot reach the outside through this host",
                why="That needs root",
                todo="Use the way `user`, which needs no rights",
                code="no-routed-networks",
            )
        return self._host

    async def _ensure_names(self, order: SpaceOrder, place: Place) -> bool:
        """Whether dnsmasq had to be started without a reason in the order."""
        servers: tuple[str, ...] = (attendants.NAME_SERVER,) if order.way is Way.USER else ()
        if order.way is Way.ROUTED:
            servers = await self._host_side().name_servers()
        files = dnsmasq.files_for(order.space, str(place.attendants), servers)
        written = await asyncio.to_thread(attendants.read_names, place)
        lives = await asyncio.to_thread(self._processes.lives, "dnsmasq")
        if files != written:
            await asyncio.to_thread(attendants.write_names, place, files)
        if lives and (written is None or dnsmasq.needs_restart(written, files)):
            await self._processes.end("dnsmasq")
        elif lives:
            if files != written:
                await asyncio.to_thread(self._processes.signal, "dnsmasq", signal.SIGHUP)
            return False
        if order.space.networks:
            await self._processes.note(await attendants.start_dnsmasq(place))
        return not lives and written is not None

    def _compile(self, order: SpaceOrder) -> tuple[Layout, Table]:
        is_user = order.way is Way.USER
        host = [*_host_addresses(), attendants.CIDR] if is_user else []
        uplink = attendants.USER_UPLINK if is_user else None
        if order.way is Way.ROUTED and self._transit is not None:
            uplink = self._transit.uplink
        return self._layout(order.space, uplink), compile_table(order.space, self._memory, host)

    def _layout(self, space: Space, uplink: Uplink | None) -> Layout:
        parts = (space.networks, space.ports, uplink)
        if self._laid_out is None or self._laid_out[0] != parts:
            self._laid_out = (parts, layout_of(space, uplink))
        return self._laid_out[1]

    async def _make_anew(self, steward: StewardLink, layout: Layout, table: Table) -> None:
        """From whatever there is. Connections that stand go on: the kernel knows them apart from the rules."""
        self._standing = None
        counts = {}
        with contextlib.suppress(HostFailure):  # there is no table
            answer = await steward.ask("read-rules", text=f"list counters table inet {tables.NAME}\n")
            counts = counts_in(answer["output"])
        generation = await _send_rules(steward, tables.creation(table, counts), 0)
        await self._mend_layout(steward, layout)
        self._standing = _Standing(layout, table, generation)

    async def _mend_layout(self, steward: StewardLink, layout: Layout) -> int:
        found = await steward.ask("look")
        todo = changes(observed(found, layout), layout)
        await steward.ask("change", changes=todo)
        return len([change for change in todo if change[0] not in _UNSEEN])

    async def _mend(self, order: SpaceOrder) -> tuple[str, ...]:
        had_namespaces = await asyncio.to_thread(self._processes.lives, "holder")
        steward = await self._ensure_namespaces()
        if not had_namespaces:
            await self._make(order)
            return ("namespaces",)
        place = await self._place()
        mended = []
        if await self._ensure_way_out(order, place):
            mended.append("way out")
        standing = self._standing
        if standing is None:
            await self._make(order)
        else:
            seen = await steward.ask("disturbed")
            if seen["generation"] != standing.generation:
                mended.append("rules")
                await self._make_anew(steward, standing.layout, standing.table)
            elif seen["disturbed"] and await self._mend_layout(steward, standing.layout):
                mended.append("devices")
        if await self._ensure_names(replace(order, space=self._spares.beside(order.space)), place):
            mended.append("names")
        return tuple(mended)

    async def _ensure_namespaces(self) -> StewardLink:
        """The steward; namespaces that are gone are made again, empty."""
        if (
            self._steward is not None
            and self._steward.is_open
            and await asyncio.to_thread(self._processes.lives, "holder")
        ):
            return self._steward
        self.close()
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        holder = await asyncio.to_thread(self._processes.entry, "holder")
        if holder is not None and await asyncio.to_thread(self._processes.lives, "holder"):
            self._steward = await StewardLink.enter(self._folder, self._uid, holder.pid)
            self.epoch = _epoch_of(holder)
            return self._steward
        self._standing = None
        await record.end_processes(self._folder)
        steward, holder = await StewardLink.create(self._folder, self._uid)
        try:
            await asyncio.to_thread(record.save, self._folder, record.NetworkRecord(WAY, (holder,)))
            await steward.keep()
        except BaseException:
            steward.close()
            raise
        self._steward = steward
        self.epoch = _epoch_of(holder)
        return steward


def _epoch_of(holder: record.ProcessEntry) -> str:
    return f"{holder.pid}.{holder.start_ticks}"


async def _send_rules(steward: StewardLink, units: Iterable[tables.Unit], generation: int) -> int:
    """Returns the generation after it; one that is not ours alone is told as -1, so that the rules are looked at."""
    most_chars = _MOST_CHARS_OF_ROOT if os.geteuid() == 0 else _MOST_CHARS_OF_USERS
    for text in await asyncio.to_thread(lambda: list(tables.transactions(units, most_chars))):
        answer = await steward.ask("rules", text=text)
        alone = generation in {0, answer["before"]} and answer["after"] == answer["before"] + 1
        generation = int(answer["after"]) if alone else -1
    return generation


def _host_addresses() -> list[str]:
    """All that this host has now, without their lengths."""
    with contextlib.closing(Netlink()) as kernel:
        return [address.partition("/")[0] for _, address in kernel.addresses()]

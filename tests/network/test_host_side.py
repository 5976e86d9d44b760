"""Spaces that reach the outside through the host, which is another namespace here, with a network card of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.instance import PortForward
from insula.domain.network import Forward, Network
from insula.node.network.host_side import HostSide
from insula.node.network.steward_link import StewardLink
from insula.protocol.network import Way
from tests.network import frames
from tests.network.world import World, port_of, space_of

pytestmark = pytest.mark.root

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_PORTS = (port_of(1, _RED), port_of(2, _RED))
_SPACE = space_of([_RED], _PORTS)
_HOST_MAC, _NEAR_MAC = "06:77:00:00:00:01", "02:77:00:00:00:02"
_HOST, _NEAR = "192.0.2.1", "192.0.2.2"
_HOST6, _NEAR6 = "2001:db8:77::1", "2001:db8:77::2"
_THEIRS = "add table inet theirs\nadd chain inet theirs keep\nadd rule inet theirs keep tcp dport 1 accept\n"


class Host:
    """A namespace with one card, at whose other end the test stands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.side = HostSide(self._start)
        self._holder = 0

    async def open(self) -> None:
        self._folder.mkdir(mode=0o711, parents=True)
        self.steward, entry = await StewardLink.create(self._folder, None)
        await self.steward.keep()
        self._holder = entry.pid
        await self.steward.ask(
            "change",
            changes=[
                ("link", "lo", "", 65536),
                ("tap", "lan0"),
                ("link", "lan0", _HOST_MAC, 1500),
                ("address", "lan0", f"{_HOST}/24"),
                ("address", "lan0", f"{_HOST6}/64"),
                ("neighbour", "lan0", _NEAR, _NEAR_MAC),
                ("neighbour", "lan0", _NEAR6, _NEAR_MAC),
                ("route", f"{_NEAR}/32", "lan0", "", ""),
                ("route", f"{_NEAR6}/128", "lan0", "", ""),
            ],
        )
        await self.steward.ask("rules", text=_THEIRS)
        self._card = await self.steward.ask_for_descriptor("tap", device="lan0", offload=False)

    async def _start(self) -> StewardLink:
        return await StewardLink.enter(self._folder, None, self._holder)

    def send(self, source: str, destination: str, traffic: str, body: bytes) -> None:
        frame = frames.ip(_NEAR_MAC, source, destination, frames.protocol_of(source, traffic), body)
        os.write(self._card, bytes.fromhex(_HOST_MAC.replace(":", "")) + frame[6:])

    async def seen(self) -> list[frames.Seen]:
        await asyncio.sleep(0.1)
        found = []
        while True:
            try:
                found.append(frames.parse(os.read(self._card, 4096)))
            except BlockingIOError:
                return [p for p in found if p is not None and p.protocol in {frames.TCP, frames.UDP}]

    def close(self) -> None:
        self.side.close()
        self.steward.close()
        os.close(self._card)
        os.kill(self._holder, signal.SIGKILL)


@pytest.fixture
async def host(folder: Path) -> AsyncIterator[Host]:
    host = Host(folder.parent / "host")
    await host.open()
    await asyncio.sleep(0.2)
    try:
        yield host
    finally:
        host.close()


@pytest.fixture
async def routed(folder: Path, host: Host) -> AsyncIterator[World]:
    world = World(folder, host.side)
    try:
        await world.apply(_SPACE, Way.ROUTED)
        await world.clear()
        await host.seen()
        yield world
    finally:
        await world.end()


@pytest.mark.parametrize(("own", "near", "mine"), [("10.1.0.17", _NEAR, _HOST), ("fd00:1::11", _NEAR6, _HOST6)])
async def test_guests_reach_the_outside_in_the_hosts_name(
    routed: World, host: Host, own: str, near: str, mine: str
) -> None:
    routed.send_packet("prt_1", own, near, "udp", frames.udp(4000, 53, b"question"))
    (left,) = await host.seen()
    assert left.source == mine
    host.send(near, mine, "udp", frames.udp(53, left.mark, b"answer"))
    await asyncio.sleep(0.1)
    assert [packet.payload[8:] for packet in await routed.seen_at("prt_1")] == [b"answer"]


async def test_a_forward_of_the_hosts_address_leads_to_the_guest(routed: World, host: Host) -> None:
    for address, number in ((_HOST, 2222), ("0.0.0.0", 2223)):
        forward = Forward("prt_2", PortForward(22, number, address))
        await routed.apply(replace(_SPACE, forwards=(forward,)), Way.ROUTED)
        await routed.clear()
        host.send(_NEAR, _HOST, "tcp", frames.tcp(4000 + number, number))
        await asyncio.sleep(0.1)
        (opening,) = await routed.seen_at("prt_2")
        assert (opening.source, opening.port) == (_NEAR, 22), "the guest sees who it is"
        answer = frames.tcp(22, opening.mark, frames.SYN_ACK, 5, 1001)
        routed.send_packet("prt_2", "10.1.0.18", _NEAR, "tcp", answer)
        assert [(packet.source, packet.mark) for packet in await host.seen()] == [(_HOST, number)]
    await routed.apply(_SPACE, Way.ROUTED)
    host.send(_NEAR, _HOST, "tcp", frames.tcp(4100, 2223))
    await asyncio.sleep(0.1)
    assert [packet for packet in await routed.seen_at("prt_2") if packet.protocol == frames.TCP] == []


async def test_guests_reach_neither_the_host_nor_other_spaces(routed: World, host: Host, folder: Path) -> None:
    other = World(folder.parent / "other", host.side)
    try:
        await other.apply(replace(_SPACE, id="prj_other"), Way.ROUTED)
        await other.clear()
        for target in (_HOST, "127.0.0.1", "100.126.0.1", "100.126.0.3"):
            routed.send_packet("prt_1", "10.1.0.17", target, "tcp", frames.tcp(4000, 22))
        await asyncio.sleep(0.2)
        assert [packet for packet in await routed.seen_at("prt_1") if packet.protocol == frames.TCP] == []
        assert await other.seen_at("prt_1") == []
        assert await host.seen() == []
        # The same addresses in both, and both reach the outside.
        for world in (routed, other):
            world.send_packet("prt_1", "10.1.0.17", _NEAR, "udp", frames.udp(4000, 53))
        assert len(await host.seen()) == 2
    finally:
        await other.end()


async def test_what_is_taken_from_the_hosts_side_comes_back_and_others_rules_stay(routed: World, host: Host) -> None:
    async def works() -> bool:
        routed.send_packet("prt_1", "10.1.0.17", _NEAR, "udp", frames.udp(4000, 53))
        return bool(await host.seen())

    assert await host.side.reconcile() == ()
    assert await works()
    await host.steward.ask("rules", text="add rule inet theirs keep tcp dport 2 accept\n")
    assert await host.side.reconcile() == (), "what others change is theirs"
    await host.steward.ask("rules", text="delete table inet insula\n")
    assert await host.side.reconcile() == ("host rules",)
    assert await works()
    transit = next(iter(host.side._transits.values()))
    await host.steward.ask("change", changes=[("route-away", f"{transit.ipv4}/32", transit.device, "")])
    assert await host.side.reconcile() == ("host devices",)
    assert await works()
    await host.steward.ask("change", changes=[("link-away", transit.device)])
    assert "way out" in await routed.keeper.reconcile()
    await routed.clear()
    assert await works()
    listing = (await host.steward.ask("read-rules", text="list table inet theirs\n"))["output"]
    assert str(listing).count('"rule": {') == 2


async def test_nothing_of_a_removed_space_stays_on_the_host(routed: World, host: Host) -> None:
    await routed.keeper.remove()
    async with asyncio.timeout(5):
        while any(name.startswith("isv") for name in (await host.steward.ask("look"))["links"]):
            await asyncio.sleep(0.05)
    assert host.side._transits == {}
    found = await host.steward.ask("look")
    assert not any("100.126" in route[0] for route in found["routes"])

"""Spaces that reach the outside through the host, which is another namespace here, with a network card of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.instance import PortForward
from insula.domain.network import Forward
from insula.protocol.network import Way
from tests.network import frames
from tests.network.host import HOST, HOST6, NEAR, NEAR6, SPACE, Host
from tests.network.world import World

pytestmark = pytest.mark.root


@pytest.mark.parametrize(("own", "near", "mine"), [("10.1.0.17", NEAR, HOST), ("fd00:1::11", NEAR6, HOST6)])
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
    for address, number in ((HOST, 2222), ("0.0.0.0", 2223)):
        forward = Forward("prt_2", PortForward(22, number, address))
        await routed.apply(replace(SPACE, forwards=(forward,)), Way.ROUTED)
        await routed.clear()
        host.send(NEAR, HOST, "tcp", frames.tcp(4000 + number, number))
        await asyncio.sleep(0.1)
        (opening,) = await routed.seen_at("prt_2")
        assert (opening.source, opening.port) == (NEAR, 22), "the guest sees who it is"
        answer = frames.tcp(22, opening.mark, frames.SYN_ACK, 5, 1001)
        routed.send_packet("prt_2", "10.1.0.18", NEAR, "tcp", answer)
        assert [(packet.source, packet.mark) for packet in await host.seen()] == [(HOST, number)]
    await routed.apply(SPACE, Way.ROUTED)
    host.send(NEAR, HOST, "tcp", frames.tcp(4100, 2223))
    await asyncio.sleep(0.1)
    assert [packet for packet in await routed.seen_at("prt_2") if packet.protocol == frames.TCP] == []


async def test_guests_reach_neither_the_host_nor_other_spaces(routed: World, host: Host, folder: Path) -> None:
    other = World(folder.parent / "other", host.side)
    try:
        await other.apply(replace(SPACE, id="prj_other"), Way.ROUTED)
        await other.clear()
        for target in (HOST, "127.0.0.1", "100.126.0.1", "100.126.0.3"):
            routed.send_packet("prt_1", "10.1.0.17", target, "tcp", frames.tcp(4000, 22))
        await asyncio.sleep(0.2)
        assert [packet for packet in await routed.seen_at("prt_1") if packet.protocol == frames.TCP] == []
        assert await other.seen_at("prt_1") == []
        assert await host.seen() == []
        # The same addresses in both, and both reach the outside.
        for world in (routed, other):
            world.send_packet("prt_1", "10.1.0.17", NEAR, "udp", frames.udp(4000, 53))
        assert len(await host.seen()) == 2
    finally:
        await other.end()


async def test_what_is_taken_from_the_hosts_side_comes_back_and_others_rules_stay(routed: World, host: Host) -> None:
    async def works() -> bool:
        routed.send_packet("prt_1", "10.1.0.17", NEAR, "udp", frames.udp(4000, 53))
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

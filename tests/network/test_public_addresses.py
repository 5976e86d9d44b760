"""Addresses of the outside that stand for instances, on a host with a network card of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict, InsulaError
from insula.base.run import run
from insula.domain.network import PublicAddress
from insula.node.network.host_side import HostSide
from insula.protocol.network import Way
from tests.network import frames
from tests.network.host import HOST_MAC, NEAR, NEAR6, NEAR_MAC, SPACE, Host
from tests.network.world import World

pytestmark = pytest.mark.root

_NEAR_BY = ("192.0.2.77", "2001:db8:77::77")  # of the segment that the host's card is in
_ROUTED = ("203.0.113.5", "2001:db8:99::5")


def _with(*pairs: tuple[str, str]) -> dict[str, object]:
    return {"addresses": tuple(PublicAddress(address, port_id) for address, port_id in pairs)}


@pytest.mark.parametrize("address", [*_NEAR_BY, *_ROUTED])
async def test_an_address_leads_in_and_out_and_moves_at_once(routed: World, host: Host, address: str) -> None:
    near = NEAR6 if ":" in address else NEAR
    for name in ("prt_1", "prt_2"):
        began_s = time.monotonic()
        await routed.apply_only(replace(SPACE, **_with((address, name))), Way.ROUTED)  # type: ignore[arg-type]
        assert time.monotonic() - began_s < 2
        await routed.clear()
        await host.received()
        port = routed.port(name)
        own = port.ipv6 if ":" in address else port.ipv4
        host.send(near, address, "tcp", frames.tcp(4000 + port.number, 22))
        (opening,) = [packet for packet in await _until_seen(routed, name) if packet.protocol == frames.TCP]
        assert (opening.source, opening.destination) == (near, own), "the guest sees who it is"
        routed.send_packet(name, own, near, "udp", frames.udp(5000 + port.number, 53))
        assert [packet.source for packet in await host.seen()] == [address]
    await routed.apply_only(SPACE, Way.ROUTED)
    await routed.clear()
    host.send(near, address, "tcp", frames.tcp(4100, 22))
    await asyncio.sleep(0.1)
    assert [packet for packet in await routed.seen_at("prt_2") if packet.protocol == frames.TCP] == []


async def _until_seen(world: World, name: str) -> list[frames.Seen]:
    async with asyncio.timeout(5):
        while not (found := await world.seen_at(name)):
            pass
    return found


async def test_the_segment_is_told_and_answered_for_as_long_as_the_address_is_in_use(routed: World, host: Host) -> None:
    four, six = _NEAR_BY
    await host.received()
    pairs = ((four, "prt_1"), (six, "prt_1"), (_ROUTED[0], "prt_2"))
    await routed.apply_only(replace(SPACE, **_with(*pairs)), Way.ROUTED)  # type: ignore[arg-type]
    told = await host.received()
    mac = bytes.fromhex(HOST_MAC.replace(":", ""))
    arps = [frame for frame in told if frame[12:14] == b"\x08\x06" and frame[28:32] == socket.inet_aton(four)]
    assert {frame[22:28] for frame in arps} == {mac}, "ARP names the host's card"
    advertised = [p for p in map(frames.parse, told) if p is not None and p.protocol == frames.ICMP6 and p.port == 136]
    assert [packet.source for packet in advertised] == [six]
    assert not any(socket.inet_aton(_ROUTED[0]) in frame for frame in told), "others have to be routed here"
    assert await _is_answered(host, four)
    assert await _is_answered6(host, six)
    await routed.apply_only(SPACE, Way.ROUTED)
    left = await host.steward.ask("look")
    assert left["proxies"] == []
    assert not any(address in str(left["routes"]) for address, _ in pairs)
    assert not await _is_answered(host, four)
    assert not await _is_answered6(host, six)


async def _is_answered(host: Host, address: str) -> bool:
    await host.received()
    host.send_frame(frames.arp(NEAR_MAC, NEAR, address))
    for _ in range(15):  # the kernel waits for up to 0.8 s before it answers for others
        replies = [frame for frame in await host.received() if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2"]
        if any(frame[28:32] == socket.inet_aton(address) for frame in replies):
            return True
    return False


async def _is_answered6(host: Host, address: str) -> bool:
    await host.received()
    target = socket.inet_pton(socket.AF_INET6, address)
    group = f"ff02::1:ff{target[13]:02x}:{target[14]:02x}{target[15]:02x}"
    mac = bytes.fromhex(NEAR_MAC.replace(":", ""))
    body = frames.icmp(135, rest=bytes(4)) + target + b"\1\1" + mac
    frame = bytearray(frames.ip(NEAR_MAC, NEAR6, group, frames.ICMP6, body))
    frame[:6] = b"\x33\x33\xff" + target[13:]
    frame[21] = 255  # hops: it was not forwarded
    host.send_frame(bytes(frame))
    for _ in range(15):
        for packet in map(frames.parse, await host.received()):
            if packet is not None and packet.protocol == frames.ICMP6 and packet.port == 136:
                return packet.payload[8:24] == target
    return False


async def test_addresses_that_somebody_flushed_come_back(routed: World, host: Host) -> None:
    await routed.apply_only(replace(SPACE, **_with((_ROUTED[0], "prt_1"))), Way.ROUTED)  # type: ignore[arg-type]
    assert await host.side.reconcile() == ()
    await host.steward.ask("rules", text="flush set inet insula public4\n")
    assert await host.side.reconcile() == ("host rules",)
    assert await host.side.reconcile() == ()
    await routed.clear()
    host.send(NEAR, _ROUTED[0], "tcp", frames.tcp(4000, 22))
    assert [p.destination for p in await _until_seen(routed, "prt_1") if p.protocol == frames.TCP] == ["10.1.0.17"]


async def test_a_guest_cannot_come_from_an_address_that_is_not_its_own(routed: World, host: Host) -> None:
    address = _ROUTED[0]
    await routed.apply_only(replace(SPACE, **_with((address, "prt_1"))), Way.ROUTED)  # type: ignore[arg-type]
    await routed.clear()
    await host.received()
    routed.send_packet("prt_2", address, NEAR, "udp", frames.udp(4000, 53))
    routed.send_packet("prt_2", "10.1.0.18", NEAR, "udp", frames.udp(4001, 53))
    assert [packet.mark for packet in await host.seen()] == [4001]


async def test_only_one_service_manages_a_host(tmp_path: Path, host: Host) -> None:
    one, other = (HostSide(host.side._start) for _ in range(2))
    try:
        try:
            await one.claim()
        except Conflict:
            pytest.skip("an Insula service on this machine has claimed it")
        except InsulaError:
            pass  # this host asks only itself for names: claimed all the same
        with pytest.raises(Conflict) as caught:
            await other.claim()
        assert caught.value.code == "host-claimed"
        one.close()
        again = HostSide(host.side._start)
        await again.claim()
        again.close()
    finally:
        one.close()
        other.close()


async def test_devices_that_heeded_routers_go_on_doing_so(host: Host) -> None:
    await host.steward.ask("set", settings=[("ipv6/conf/all/forwarding", "0"), ("ipv6/conf/lan0/accept_ra", "1")])
    await host.steward.ask("forwarding")
    assert await _setting(host, "ipv6/conf/lan0/accept_ra") == "2"
    assert await _setting(host, "ipv6/conf/all/forwarding") == "1"


async def _setting(host: Host, name: str) -> str:
    argv = ["nsenter", f"--net=/proc/{host.holder}/ns/net", "cat", f"/proc/sys/net/{name}"]
    return (await run(argv, timeout_s=10)).text.strip()

"""What somebody takes away comes back, and what stands is not disturbed by it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import Conflict
from insula.domain.firewall import Direction, Firewall, PortRange, Rule, Traffic
from insula.domain.network import Network
from insula.node.network import record
from insula.node.network.keeper import SpaceKeeper
from insula.node.network.steward_link import MARKER
from insula.protocol.network import SpaceOrder, Way
from tests.network import clients, frames
from tests.network.world import UID, World, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_BLUE = Network("net_blue", 2, "10.2.0.0/24", "fd00:2::/64")
_PORTS = (port_of(1, _RED), port_of(2, _RED), port_of(3, _BLUE))
_RULE = Rule("rul_ssh", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(22, 22),))
_SPACE = space_of([_RED, _BLUE], _PORTS, firewalls=(Firewall("fwl_1", (_RULE,), ("ins_2",)),))
_BACK_S = 2.0


async def _connect(world: World, mark: int) -> bool:
    world.send_packet("prt_1", "10.1.0.17", "10.1.0.18", "tcp", frames.tcp(mark, 22))
    return any(packet.mark == mark for packet in await world.seen_at("prt_2"))


async def _establish(world: World, mark: int) -> None:
    assert await _connect(world, mark)
    world.send_packet("prt_2", "10.1.0.18", "10.1.0.17", "tcp", frames.tcp(22, mark, frames.SYN_ACK, 5, 1001))
    assert await world.seen_at("prt_1")
    world.send_packet("prt_1", "10.1.0.17", "10.1.0.18", "tcp", frames.tcp(mark, 22, frames.ACK, 1001, 6))
    assert await world.seen_at("prt_2")


async def _goes_on(world: World, mark: int) -> bool:
    """The receiver's side of a connection, which no rule lets in, is still heard."""
    world.send_packet("prt_2", "10.1.0.18", "10.1.0.17", "tcp", frames.tcp(22, mark, frames.ACK | 8, 6, 1001) + b"x")
    return any(packet.port == mark for packet in await world.seen_at("prt_1"))


async def _reconcile(world: World) -> tuple[str, ...]:
    began = time.monotonic()
    mended = await world.keeper.reconcile()
    assert time.monotonic() - began < _BACK_S
    return mended


async def test_flushed_rules_come_back_with_their_counts_while_connections_go_on(world: World) -> None:
    await world.apply(_SPACE)
    await world.clear()
    await _establish(world, 4000)
    assert (await world.keeper.traffic()).rules["rul_ssh"].packets == 1
    assert await world.keeper.reconcile() == ()
    await world.steward.ask("rules", text="add table inet theirs\nadd chain inet theirs keep\n")
    assert await _reconcile(world) == ("rules",)
    assert (await world.keeper.traffic()).rules["rul_ssh"].packets == 1, "counts are carried over"
    assert await _goes_on(world, 4000)
    await world.steward.ask("rules", text="flush ruleset\n")
    assert await _reconcile(world) == ("rules",)
    assert await _goes_on(world, 4000)
    assert await _connect(world, 4001)
    world.send_packet("prt_1", "10.1.0.17", "10.1.0.18", "tcp", frames.tcp(4002, 80))
    assert await world.seen_at("prt_2") == []
    assert await world.keeper.reconcile() == ()


async def test_others_rules_are_left_alone(world: World) -> None:
    await world.apply(_SPACE)
    theirs = "add table inet theirs\nadd chain inet theirs keep\nadd rule inet theirs keep tcp dport 1 accept\n"
    await world.steward.ask("rules", text=theirs)
    await world.keeper.reconcile()
    await world.apply(replace(_SPACE, firewalls=()))
    listing = (await world.steward.ask("read-rules", text="list table inet theirs\n"))["output"]
    assert '"dport"' in listing


async def test_devices_addresses_and_routes_come_back(world: World) -> None:
    await world.apply(_SPACE)
    await world.clear()
    disturbances: list[list[tuple[object, ...]]] = [
        [("link-away", "n1")],
        [("route-away", "10.1.0.18/32", "p1-2", "")],
        [("neighbour-away", "p1-2", "10.1.0.18")],
        [("address-away", "lo", "169.254.169.254/32")],
        [("route", "10.1.0.18/32", "p1-1", "")],
        [("link", "p1-2", "06:00:00:00:00:09", 1300)],
    ]
    for disturbance in disturbances:
        await _by_another(world, disturbance)
        # An entry for a neighbour may go without anybody's doing, and is not told.
        told = () if disturbance[0][0] == "neighbour-away" else ("devices",)
        assert await _reconcile(world) == told, disturbance
        assert await _reconcile(world) == ()
        assert await _connect(world, 5000 + len(str(disturbance)))
        assert (await clients.dhcp(world, "prt_1")).address == "10.1.0.17"


async def _by_another(world: World, disturbance: list[tuple[object, ...]]) -> None:
    """As somebody else in the namespace would do it: a second steward."""
    other = SpaceKeeper(world.keeper._folder, UID)
    try:
        steward = await other._ensure_namespaces()
        await steward.ask("change", changes=disturbance)
    finally:
        other.close()


async def test_killed_programs_are_started_again(world: World) -> None:
    await world.apply(_SPACE, Way.USER)
    for name, told in (("dnsmasq", "names"), ("slirp4netns", "way out"), ("steward", "")):
        if name == "steward":
            world.steward.close()
        else:
            entry = world.keeper._processes.entry(name)
            assert entry is not None
            os.kill(entry.pid, signal.SIGKILL)
            while world.keeper._processes.lives(name):
                await asyncio.sleep(0.01)
        mended = await _reconcile(world)
        assert told in mended or (not told and mended == ()), name
        assert (await clients.dhcp(world, "prt_1")).address == "10.1.0.17"
        assert await world.keeper.reconcile() == ()
    await world.clear()
    assert await _connect(world, 4000)


async def test_a_new_service_takes_over_what_stands(world: World) -> None:
    await world.apply(_SPACE, Way.USER)
    await world.clear()
    await _establish(world, 4000)
    before = record.load(world.keeper._folder)
    world.keeper.close()
    world.keeper = SpaceKeeper(world.keeper._folder, UID)
    assert await world.keeper.reconcile() == ()
    assert record.load(world.keeper._folder) == before
    assert await _goes_on(world, 4000)
    assert (await world.keeper.traffic()).rules["rul_ssh"].packets == 1


async def test_a_space_whose_namespaces_died_is_made_again(world: World) -> None:
    await world.apply(_SPACE, Way.USER)
    found = record.load(world.keeper._folder)
    assert found is not None
    for entry in found.processes:
        os.kill(entry.pid, signal.SIGKILL)
    while any(world.keeper._processes.lives(entry.name) for entry in found.processes):
        await asyncio.sleep(0.01)
    assert await _reconcile(world) == ("namespaces",)
    os.close(world.taps.pop("prt_1"))
    world.taps["prt_1"] = await world.keeper.open_port("prt_1", offload=False)
    assert (await clients.dhcp(world, "prt_1")).address == "10.1.0.17"


async def test_an_old_order_is_refused(world: World) -> None:
    await world.apply(_SPACE)
    await world.apply(_SPACE)
    with pytest.raises(Conflict) as caught:
        await world.keeper.apply(SpaceOrder(_SPACE, 1, Way.NONE))
    assert caught.value.code == "old-revision"


async def test_nothing_is_left_of_a_removed_space(world: World) -> None:
    await world.apply(_SPACE, Way.USER)
    folder = world.keeper._folder
    assert len(_processes(folder)) >= 3
    for _ in range(2):
        await world.keeper.remove()
    async with asyncio.timeout(2):
        while _processes(folder):
            await asyncio.sleep(0.02)
    assert not folder.exists()


def _processes(folder: Path) -> list[int]:
    """Living ones that carry the space's mark."""
    mark = f"{MARKER}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found

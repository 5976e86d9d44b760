"""Limits hold in both directions, change while everything goes on, and what passes is counted."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace

import pytest

from insula.domain.network import Network
from tests.network import frames
from tests.network.world import World, port_of, space_of

_RED = Network("net_red", 1, "10.1.0.0/24", "fd00:1::/64")
_PORTS = (port_of(1, _RED), port_of(2, _RED))
_BODY = bytes(1400)


async def _megabits_per_second(world: World, seconds: float = 1.5) -> float:
    """How much comes from port 1 to port 2 when far more is sent."""
    frame = frames.ip(_PORTS[0].mac, _PORTS[0].ipv4, _PORTS[1].ipv4, frames.UDP, frames.udp(1, 9, _BODY))
    began, received = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for _ in range(20):
            world.send("prt_1", frame)
        while True:
            try:
                received += len(os.read(world.taps["prt_2"], 4096))
            except BlockingIOError:
                break
        await asyncio.sleep(0.001)
    return received * 8 / 1e6 / (time.monotonic() - began)


@pytest.mark.parametrize("limited", ["prt_1", "prt_2"])
async def test_bandwidth_is_limited_for_sender_and_receiver(world: World, limited: str) -> None:
    ports = tuple(replace(port, megabits_per_second=10 if port.id == limited else 0) for port in _PORTS)
    await world.apply(space_of([_RED], ports))
    await world.clear()
    assert 4 <= await _megabits_per_second(world) <= 12
    # The limit is changed on a port that stands, and taken away.
    faster = tuple(replace(port, megabits_per_second=20 if port.id == limited else 0) for port in _PORTS)
    await world.apply(space_of([_RED], faster))
    assert 12 <= await _megabits_per_second(world) <= 24
    await world.apply(space_of([_RED], _PORTS))
    assert await _megabits_per_second(world, 0.5) > 30
    assert await world.keeper.reconcile() == ()


async def test_packets_are_limited(world: World) -> None:
    ports = (replace(_PORTS[0], packets_per_second=100), _PORTS[1])
    await world.apply(space_of([_RED], ports))
    await world.clear()
    for mark in range(1000, 1300):
        world.send_packet("prt_1", _PORTS[0].ipv4, _PORTS[1].ipv4, "udp", frames.udp(mark, 9))
    assert 5 <= len(await world.seen_at("prt_2")) <= 60


async def test_what_passes_is_counted_for_each_side_and_survives_changes(world: World) -> None:
    await world.apply(space_of([_RED], _PORTS))
    await world.clear()
    before = (await world.keeper.traffic()).ports
    for mark in range(10):
        world.send_packet("prt_1", _PORTS[0].ipv4, _PORTS[1].ipv4, "udp", frames.udp(mark + 1, 9, bytes(72)))
    await asyncio.sleep(0.2)
    world.frames_at("prt_2")  # what a card has not taken yet does not count
    await world.apply_only(space_of([_RED], (*_PORTS, port_of(3, _RED))))
    after = (await world.keeper.traffic()).ports
    assert (await world.keeper.card_traffic())["prt_1"] == after["prt_1"]
    assert after["prt_1"].sent.packets - before["prt_1"].sent.packets == 10
    assert after["prt_1"].sent.byte_count - before["prt_1"].sent.byte_count == 1000
    assert after["prt_2"].received.packets - before["prt_2"].received.packets >= 10
    assert after["prt_2"].sent.packets == before["prt_2"].sent.packets

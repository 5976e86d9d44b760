"""How quick networks change, and what the packet filter costs the traffic, without machines.

Traffic is measured in turns, with the filter and without it, since a busy host changes from second to second; sender,
receiver and router share one processor, so that what the router costs is taken from the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from bench.measure import Row
from insula.base.clock import monotonic_s
from insula.base.run import run
from insula.domain.firewall import Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import Member, Network, PublicAddress, Space
from insula.domain.port import Port
from insula.node.network.layout import ROUTER_MAC
from insula.node.network.rules import table as tables
from insula.node.network.rules.compile import compile_table
from insula.protocol.network import SpaceOrder, Way
from tests.network import clients, frames
from tests.network.world import OUTSIDE, World

INSTANCES, RULES_EACH = 1000, 10
_NET = Network("net_bench", 1, "10.1.0.0/16", "fd00:1::/64")
_TURNS = 7
_TRAFFIC_TURNS = 15
_TIMEOUT_S = 60.0

_FLOOD = """
import os, socket, sys, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
address, seconds = sys.argv[1], float(sys.argv[2])
flood = socket.create_connection((address, 20), timeout=10)
data, sent = bytes(1 << 18), 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    flood.sendall(data)
    sent += len(data)
flood.shutdown(socket.SHUT_WR)
flood.recv(1)
print(sent / seconds)
"""
_CONNECT = """
import os, socket, sys, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
address, seconds = sys.argv[1], float(sys.argv[2])
count, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    with socket.create_connection((address, 21), timeout=10) as connection:
        connection.recv(1)
        count += 1
print(count / seconds)
"""
_SERVE = """
import os, socket, threading
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
def drink():
    with socket.create_server(("", 20)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1 << 18):
                    pass
                connection.sendall(b"x")
threading.Thread(target=drink, daemon=True).start()
with socket.create_server(("", 21), backlog=1024) as listener:
    while True:
        connection, _ = listener.accept()
        connection.close()
"""


_KNOWING = """
flush ruleset
table inet bare {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state { established, related } accept
    ct state new accept
  }
  chain ways_in { type nat hook prerouting priority dstnat; policy accept; }
  chain ways_out { type nat hook postrouting priority srcnat; policy accept; }
}
"""


def measure() -> list[Row]:
    """All rows; root is needed for those about traffic."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    rows = await _changes()
    rows += await _services()
    if os.geteuid() == 0:
        rows += await _traffic()
    return rows


def space_of_size(instances: int, rules_each: int) -> Space:
    """Instances with a firewall each, whose rules all differ."""
    members = tuple(Member(f"ins_{n}", f"web{n}", (f"tag{n % 10}",)) for n in range(instances))
    ports = tuple(
        Port(f"prt_{n}", n + 1, f"ins_{n}", _NET.id, f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", *_addresses(n))
        for n in range(instances)
    )
    firewalls = tuple(
        Firewall(f"fwl_{n}", tuple(_rule(n, order) for order in range(rules_each)), (f"ins_{n}",))
        for n in range(instances)
    )
    return Space("prj_bench", (_NET,), members, ports, firewalls)


def _addresses(number: int) -> tuple[str, str]:
    return f"10.1.{1 + number // 250}.{1 + number % 250}", f"fd00:1::{number + 16:x}"


def _rule(number: int, order: int) -> Rule:
    peer = Peer(PeerKind.TAG, f"tag{order}") if order % 2 else Peer(PeerKind.PREFIX, f"10.1.{order}.0/24")
    first = 20 + 3 * order
    return Rule(
        f"rul_{number}_{order}",
        Direction.INBOUND,
        traffic=Traffic.TCP,
        ports=(PortRange(first, first + 1),),
        peers=(peer,),
    )


@contextlib.asynccontextmanager
async def _world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(prefix="insula-net-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        world = World(Path(name) / "space")
        try:
            yield world
        finally:
            await world.end()


async def _changes() -> list[Row]:
    """One firewall of many is changed, and everything is made again after a flush."""
    space = space_of_size(INSTANCES, RULES_EACH)
    async with _world() as world:
        revision = 1
        await world.keeper.apply(SpaceOrder(space, revision, Way.NONE))
        times = []
        for turn in range(_TURNS * 2):
            firewall = space.firewalls[turn]
            changed = replace(firewall, rules=firewall.rules[:-1])
            space = replace(space, firewalls=(*space.firewalls[:turn], changed, *space.firewalls[turn + 1 :]))
            revision += 1
            began = monotonic_s()
            await world.keeper.apply(SpaceOrder(space, revision, Way.NONE))
            times.append(monotonic_s() - began)
        rebuilds = []
        for _ in range(3):
            await world.steward.ask("rules", text="flush ruleset\n")
            began = monotonic_s()
            assert await world.keeper.reconcile() == ("rules",)
            rebuilds.append(monotonic_s() - began)
    size = f"{INSTANCES} instances, {INSTANCES * RULES_EACH} rules"
    return [
        _milliseconds(f"one firewall changed of {size}", statistics.median(times), 100),
        _milliseconds(f"packet filter made again, {size}", statistics.median(rebuilds), 2000),
    ]


async def _services() -> list[Row]:
    """What an instance waits for: its tap, its address; and a public address that moves."""
    space = space_of_size(20, 2)
    async with _world() as world:
        few = replace(space, ports=space.ports[:1], members=space.members[:1])
        await world.apply(few)
        taps = []
        for count in range(2, 12):
            grown = replace(space, ports=space.ports[:count], members=space.members[:count])
            await world.steward.ask("disturbed")
            began = monotonic_s()
            await world.steward.ask("change", changes=[("tap", f"t{count}"), ("link", f"t{count}", "", 1500)])
            os.close(await world.steward.ask_for_descriptor("tap", device=f"t{count}", offload=True))
            taps.append(monotonic_s() - began)
            await world.apply(grown)
        answers = []
        for _ in range(10):
            began = monotonic_s()
            await clients.dhcp(world, "prt_0")
            answers.append((monotonic_s() - began) / 2)  # it asks twice
        moves = await _moves(world, space)
    return [
        _milliseconds("tap made and opened", statistics.median(taps), 15),
        _milliseconds("DHCP answers", statistics.median(answers), 50),
        _milliseconds("a public address moved", statistics.median(moves), 500),
    ]


async def _moves(world: World, space: Space) -> list[float]:
    open_to_all = replace(space, firewalls=(), ports=space.ports[:2], members=space.members[:2])
    await world.apply(open_to_all)
    await world.open_outside()
    times = []
    for turn in range(6):
        name = f"prt_{turn % 2}"
        await world.clear()
        began = monotonic_s()
        await world.apply_only(replace(open_to_all, addresses=(PublicAddress("203.0.113.5", name),)))
        world.send_packet(OUTSIDE, "198.51.100.9", "203.0.113.5", "tcp", frames.tcp(4000 + turn, 22))
        while not any(p.mark == 4000 + turn for p in map(frames.parse, world.frames_at(name)) if p is not None):
            await asyncio.sleep(0.001)
        times.append(monotonic_s() - began)
    return times


async def _traffic() -> list[Row]:
    """TCP between two namespaces that stand for guests, through the space, with all the rules and with none."""
    space = space_of_size(INSTANCES, RULES_EACH)
    opening = Rule("rul_open", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(20, 21),))
    first = replace(space.firewalls[1], rules=(*space.firewalls[1].rules[:-1], opening))
    space = replace(space, firewalls=(space.firewalls[0], first, *space.firewalls[2:]))
    async with _world() as world:
        await world.keeper.apply(SpaceOrder(space, 1, Way.NONE))
        async with _guests(world, space) as (client, server):
            serving = asyncio.create_task(run([*server, sys.executable, "-c", _SERVE], timeout_s=600, check=False))
            try:
                await asyncio.sleep(1)
                with_rules, knowing, without = await _in_turns(world, space, client)
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
    rows = []
    for what, kind in (("throughput", "flood"), ("connections", "connect")):
        for name, other in (("a filter that only knows connections", knowing), ("no filter", without)):
            ratio = statistics.median(a / b for a, b in zip(with_rules[kind], other[kind], strict=True))
            bar = ("≥ 0.95", ratio >= 0.95) if other is knowing else ("", None)
            rows.append(Row(f"{what} through {INSTANCES * RULES_EACH} rules", f"{ratio:.3f} of {name}", *bar))
    return rows


async def _in_turns(world: World, space: Space, client: list[str]) -> list[dict[str, list[float]]]:
    """Results with all rules, with a filter that tracks connections and translates addresses, and with none."""
    (whole,) = tables.transactions(tables.creation(compile_table(space)), 1 << 30)
    results: list[dict[str, list[float]]] = [{"flood": [], "connect": []} for _ in range(3)]
    for _ in range(_TRAFFIC_TURNS):
        for text, result in zip((whole, _KNOWING, "flush ruleset\n"), results, strict=True):
            await world.steward.ask("rules", text=text)
            for name, program in (("flood", _FLOOD), ("connect", _CONNECT)):
                address = space.ports[1].ipv4
                done = await run([*client, sys.executable, "-c", program, address, "0.5"], timeout_s=_TIMEOUT_S)
                result[name].append(float(done.text))
    return results


@contextlib.asynccontextmanager
async def _guests(world: World, space: Space) -> AsyncIterator[tuple[list[str], list[str]]]:
    """Two namespaces whose network cards are plugged into the first two ports; commands that enter them."""
    entry = world.keeper._processes.entry("holder")
    assert entry is not None
    inside = ["nsenter", f"--target={entry.pid}", "--net", "--"]
    entrances = []
    names = []
    try:
        for number, port in enumerate(space.ports[:2]):
            name = f"insula-bench-{os.getpid()}-{number}"
            await run(["ip", "netns", "add", name], timeout_s=_TIMEOUT_S)
            names.append(name)
            device = f"p1-{port.number}"
            pair = f"link add {device} type veth peer name eth0 address {port.mac} netns /run/netns/{name}"
            await run([*inside, "ip", "link", "del", device], timeout_s=_TIMEOUT_S)
            await run([*inside, "ip", *pair.split()], timeout_s=_TIMEOUT_S)
            guest = ["ip", "netns", "exec", name]
            others = space.ports[1 - number].ipv4
            for words in (
                *(f"addr add {port.ipv4}/16 dev eth0", "link set eth0 up", "link set lo up"),
                f"neigh replace {others} lladdr {ROUTER_MAC} dev eth0",
            ):
                await run([*guest, "ip", *words.split()], timeout_s=_TIMEOUT_S)
            entrances.append(guest)
        assert await world.keeper.reconcile() == ("devices",)
        yield entrances[0], entrances[1]
    finally:
        for name in names:
            await run(["ip", "netns", "del", name], timeout_s=_TIMEOUT_S, check=False)


def _milliseconds(what: str, seconds: float, most: int) -> Row:
    return Row(what, f"{seconds * 1000:.1f} ms", f"≤ {most} ms", seconds * 1000 <= most)

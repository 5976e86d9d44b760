"""Docker's and ufw's rules on the same host: theirs go on working, and ours beside them, whoever came first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from insula.base.run import find_program, run
from insula.protocol.network import Way
from tests.network import frames
from tests.network.host import HOST, NEAR, SPACE, Host
from tests.network.world import World

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

_CONTAINER, _CONTAINER_MAC, _BRIDGE_MAC = "172.17.0.2", "02:42:ac:11:00:02", "02:42:00:00:00:01"
# What Docker 27 sets up for its default bridge and one published port, as iptables-save tells it.
_DOCKERS = f"""*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {_CONTAINER}:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d {_CONTAINER}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
# ufw keeps its settings in /etc, of which this sees a copy that goes with it.
_UFW = """set -eu
mount -t tmpfs none /mnt
cp -a /etc/ufw /etc/default /mnt/
mount --bind /mnt/ufw /etc/ufw
mount --bind /mnt/default /etc/default
ufw --force enable
ufw allow 22/tcp
"""


async def inside(host: Host, *argv: str, feed: bytes = b"") -> None:
    namespaces = ["nsenter", f"--net=/proc/{host.holder}/ns/net", "--"]
    await run([*namespaces, *argv], timeout_s=60, stdin=feed)


async def docker(host: Host) -> None:
    await inside(host, find_program("iptables-restore"), feed=_DOCKERS.encode())


async def ufw(host: Host) -> None:
    await inside(host, "unshare", "--mount", "sh", "-c", _UFW)


@contextmanager
def container(tap: int) -> Iterator[Callable[[str, bytes], None]]:
    """Sends from a container's address to another one."""

    def send(destination: str, body: bytes) -> None:
        frame = frames.ip(_CONTAINER_MAC, _CONTAINER, destination, frames.UDP, body)
        os.write(tap, bytes.fromhex(_BRIDGE_MAC.replace(":", "")) + frame[6:])

    try:
        yield send
    finally:
        os.close(tap)


async def open_docker_bridge(host: Host) -> int:
    changes = [
        *(("tap", "docker0"), ("link", "docker0", _BRIDGE_MAC, 1500), ("address", "docker0", "172.17.0.1/16")),
        ("route", "172.17.0.0/16", "docker0", "", ""),
        ("neighbour", "docker0", _CONTAINER, _CONTAINER_MAC),
    ]
    await host.steward.ask("change", changes=changes)
    return await host.steward.ask_for_descriptor("tap", device="docker0", offload=False)


async def leaves(routed: World, host: Host) -> bool:
    """Whether a guest's packet comes out of the host's card."""
    routed.send_packet("prt_1", "10.1.0.17", NEAR, "udp", frames.udp(4000, 53))
    return bool(await host.seen())


async def keep(routed: World, host: Host) -> None:
    """What the service does each second."""
    await host.side.reconcile()
    await routed.keeper.reconcile()
    await routed.clear()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_docker_and_we_work_side_by_side(folder: Path, host: Host, ours_first: bool) -> None:
    world = World(folder, host.side)
    try:
        if not ours_first:
            await docker(host)
        await world.apply(SPACE, Way.ROUTED)
        if ours_first:
            await docker(host)
        await keep(world, host)
        with container(await open_docker_bridge(host)) as send:
            await host.seen()
            for _ in range(5):  # a tap carries nothing until the kernel has seen to it
                send(NEAR, frames.udp(5000, 53))
                if theirs := await host.seen():
                    break
            assert theirs[0].source == HOST, "Docker's containers reach the outside in the host's name"
            assert await leaves(world, host)
            send(SPACE.ports[0].ipv4, frames.udp(5001, 53))
            assert await world.seen_at("prt_1") == [], "and no instance"
        await docker(host)  # as its daemon does when it is started again
        await keep(world, host)
        assert await leaves(world, host)
    finally:
        await world.end()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_ufw_and_we_work_side_by_side(folder: Path, host: Host, ours_first: bool) -> None:
    world = World(folder, host.side)
    try:
        if not ours_first:
            await ufw(host)
        await world.apply(SPACE, Way.ROUTED)
        if ours_first:
            await ufw(host)
        await keep(world, host)
        assert await leaves(world, host)
        # Nobody listens, so what ufw lets in is refused by the host, and what it does not is not answered.
        answers = {}
        for port in (22, 23):
            host.send(NEAR, HOST, "tcp", frames.tcp(6000 + port, port))
            answers[port] = [packet.port for packet in await host.seen() if packet.protocol == frames.TCP]
        assert answers == {22: [6022], 23: []}
    finally:
        await world.end()

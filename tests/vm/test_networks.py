"""Real guests in a network: what their own systems make of its addresses, names, and rules."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from insula.domain.firewall import Direction, Firewall, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.network import Member, Network, Space
from insula.domain.port import Port
from insula.node.hypervisor.driver import TapNic
from insula.node.network.keeper import SpaceKeeper
from insula.protocol.network import SpaceOrder, Way
from tests.conformance.rigs import QemuRig
from tests.network.world import UID, can_have_spaces
from tests.small_guest import Console, console

pytestmark = pytest.mark.vm

_NETWORK = Network("net_1", 1, "10.1.0.0/24", "fd00:1::/64")
_PORTS = tuple(
    Port(f"prt_{n}", n, f"ins_{n}", _NETWORK.id, f"02:00:00:00:00:0{n}", f"10.1.0.{n + 16}", f"fd00:1::{n + 16:x}")
    for n in (1, 2)
)
_OPEN = Rule(
    "rul_1", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(80, 80),), peers=(Peer(PeerKind.TAG, "web"),)
)
_SPACE = Space(
    "prj_1",
    (_NETWORK,),
    (Member("ins_1", "one", ("web",)), Member("ins_2", "two")),
    _PORTS,
    (Firewall("fwl_1", (_OPEN,), ("ins_2",)),),
)
_CLIENT = """cat > /tmp/s <<'X'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev eth0
ip route add default via $router
echo "search $domain" > /etc/resolv.conf
echo "nameserver $dns" >> /etc/resolv.conf
X
chmod +x /tmp/s; mkdir -p /etc; ip link set lo up; ip link set eth0 up"""


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="insula-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@asynccontextmanager
async def _guest(rig: QemuRig, keeper: SpaceKeeper, port: Port) -> AsyncIterator[Console]:
    spec = replace(rig.spec(port.instance_id), nic=TapNic(port.mac, await keeper.open_port(port.id)))
    machine = await rig.driver().start(spec)
    try:
        await rig.booted(spec)
        async with console(spec.folder) as typed:
            yield typed
    finally:
        await machine.kill()


async def test_guests_get_addresses_find_each_other_by_name_and_talk_as_far_as_they_may(home: Path) -> None:
    if not can_have_spaces():
        pytest.skip("needs a /dev/net/tun that we may open")
    rig, keeper = QemuRig(home / "machines"), SpaceKeeper(home / "space", UID)
    (home / "machines").mkdir(mode=0o711)
    await keeper.apply(SpaceOrder(_SPACE, 1, Way.USER))
    try:
        async with AsyncExitStack() as stack:
            one, two = await asyncio.gather(*(stack.enter_async_context(_guest(rig, keeper, port)) for port in _PORTS))
            for typed, port in ((one, _PORTS[0]), (two, _PORTS[1])):
                await typed.run(_CLIENT)
                said = await typed.run("udhcpc -i eth0 -n -q -t 5 -s /tmp/s 2>&1; ip -4 addr show eth0")
                assert f"inet {port.ipv4}/24" in said
            assert "10.1.0.18" in await one.run("nslookup two.internal")
            await two.run(
                "mkdir /tmp/www; head -c 3000000 /dev/zero > /tmp/www/file; cd /tmp/www; httpd -p 80; httpd -p 81"
            )
            await one.run("mkfifo /tmp/f; exec 9<>/tmp/f")
            fetch = "printf 'GET /file HTTP/1.0\\r\\n\\r\\n' >&9; nc -w 3 10.1.0.18 {} <&9 | tail -c 3000000 | wc -c"
            assert await one.run(fetch.format(80), 60) == "3000000"
            assert (await one.run(fetch.format(81))).splitlines()[-1] == "0"
            # The rule goes while everything stands.
            closed = replace(_SPACE, firewalls=(replace(_SPACE.firewalls[0], rules=()),))
            await keeper.apply(SpaceOrder(closed, 2, Way.USER))
            assert (await one.run(fetch.format(80))).splitlines()[-1] == "0"
    finally:
        await keeper.remove()
        rig.close()

"""A host with a neighbour on its segment: addresses of the outside lead to real guests, move, and outlive accidents."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from insula.client import Client
from insula.domain.firewall import Direction, Peer, PeerKind, Rule
from insula.domain.instance import PortForward
from tests.network.world import can_have_spaces
from tests.private_service import PrivateService
from tests.vm.test_project_networks import launch

pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open"),
]

_HOST, _NEIGHBOUR, _ADDRESS, _ADDRESS6 = "192.0.2.1", "192.0.2.2", "192.0.2.64", "2001:db8:77::64"
_FIRST_S, _MOVED_S, _MENDED_S = 5.0, 1.0, 3.0
# What the neighbour gets from an address and port within two seconds.
_ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as connection:
        connection.settimeout(2)
        print(connection.recv(100).decode().strip())
except OSError:
    pass
"""


class Segment:
    """Two network namespaces with a cable between them: the host, and its neighbour."""

    def __init__(self, host: int, neighbour: int) -> None:
        self.host, self.neighbour = enter(host), enter(neighbour)

    def ask(self, address: str, port: int = 7000) -> str:
        argv = [*self.neighbour, sys.executable, "-I", "-c", _ASK, address, str(port)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    def until(self, address: str, wanted: str, within_s: float, port: int = 7000) -> None:
        """Asks until the answer is that: the guest's program is not there for a moment after each answer."""
        deadline_s = time.monotonic() + within_s
        while (got := self.ask(address, port)) != wanted:
            assert time.monotonic() < deadline_s, (address, got)

    def run(self, *argv: str) -> str:
        """On the host."""
        return subprocess.run([*self.host, *argv], capture_output=True, text=True, timeout=30, check=True).stdout


def enter(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


@contextmanager
def namespace() -> Iterator[int]:
    with subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"], stdin=subprocess.DEVNULL) as holder:
        deadline_s = time.monotonic() + 5
        while subprocess.run([*enter(holder.pid), "test", "-e", "/proc/self"], check=False).returncode != 0:
            assert time.monotonic() < deadline_s
        while socket_namespace(holder.pid) == socket_namespace("self"):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        try:
            yield holder.pid
        finally:
            holder.kill()


def socket_namespace(pid: int | str) -> str:
    return subprocess.run(["readlink", f"/proc/{pid}/ns/net"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def segment() -> Iterator[Segment]:
    with namespace() as host, namespace() as neighbour:
        made = Segment(host, neighbour)
        made.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", str(neighbour))
        for where, device, last in ((made.host, "lan0", 1), (made.neighbour, "eth0", 2)):
            for words in (
                ["link", "set", "lo", "up"],
                ["addr", "add", f"192.0.2.{last}/24", "dev", device],
                ["addr", "add", f"2001:db8:77::{last}/64", "dev", device, "nodad"],
                ["link", "set", device, "up"],
            ):
                subprocess.run([*where, "ip", *words], check=True, timeout=10)
        yield made


@pytest.fixture
def service(segment: Segment) -> Iterator[PrivateService]:
    made = PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg", "INSULA_NETWORK": "auto"}, images=("tiny",))
    made.within = segment.host
    with made as running:
        yield running


def test_addresses_lead_to_guests_and_outlive_accidents(segment: Segment, service: PrivateService) -> None:
    with service.client() as client:
        own = launch(client, "web1")
        launch(client, "web2")
        give_ipv6(client, "web1")
        client.addresses.add_pool("lan", "192.0.2.64-192.0.2.70")
        client.addresses.add_pool("lan6", "2001:db8:77::64-2001:db8:77::70")
        assert client.addresses.reserve(pool="lan", instance="web1").address == _ADDRESS
        client.addresses.reserve(pool="lan6", instance="web1")
        segment.until(_ADDRESS, "web1", _FIRST_S)
        segment.until(_ADDRESS6, "web1", _FIRST_S)
        assert client.addresses.assign(_ADDRESS, "web2").instance_id is not None
        segment.until(_ADDRESS, "web2", _MOVED_S)
        segment.until(_ADDRESS6, "web1", _FIRST_S)
        said = client.guest.execute(
            "web2", ["/bin/sh", "-c", f"nc {_NEIGHBOUR} 9 < /dev/null; echo done"], timeout_s=60
        )
        assert said.stdout.decode().strip() == "done"
        check_forwards_and_firewalls(client, segment, own)
    after_accidents(service, segment)


def give_ipv6(client: Client, name: str) -> None:
    """The tiny guest asks for none by itself; this is what the network has for it."""
    port = client.instances.get(name).ports[0]
    script = f"ip -6 addr add {port.ipv6}/128 dev eth0 && sleep 2"
    assert client.guest.execute(name, ["/bin/sh", "-c", script]).exit_code == 0


def check_forwards_and_firewalls(client: Client, segment: Segment, own: str) -> None:
    """A rule about a sender outside sees who it is, whichever way he comes."""
    client.instances.add_forward("web1", PortForward(7000, 17000, "0.0.0.0"))
    segment.until(_HOST, "web1", _FIRST_S, 17000)
    rule = Rule("", Direction.INBOUND, peers=(Peer(PeerKind.PREFIX, f"{_NEIGHBOUR}/32"),))
    client.firewalls.create("known", rules=[rule], instances=["web1"])
    segment.until(_HOST, "web1", _FIRST_S, 17000)
    assert client.firewalls.test("web1", _NEIGHBOUR, port=7000).passes
    client.firewalls.remove_rule("known", "1")
    assert segment.ask(_HOST, 17000) == ""
    assert not client.firewalls.test("web1", _NEIGHBOUR, port=7000).passes
    client.firewalls.delete("known")
    segment.until(_HOST, "web1", _FIRST_S, 17000)
    assert own.startswith("10.42.")


def after_accidents(service: PrivateService, segment: Segment) -> None:
    """Rules flushed, the service killed: what was recorded is back soon, and goes when it is taken away."""
    segment.run("nft", "flush", "ruleset")
    segment.until(_ADDRESS, "web2", _MENDED_S)
    service.kill()
    segment.until(_ADDRESS, "web2", _FIRST_S)
    segment.run("nft", "flush", "ruleset")
    segment.run("ip", "neigh", "del", "proxy", _ADDRESS, "dev", "lan0")
    service.start()
    segment.until(_ADDRESS, "web2", _MENDED_S)
    with service.client() as client:
        client.addresses.unassign(_ADDRESS)
        assert segment.ask(_ADDRESS) == ""
        for name in ("web1", "web2"):
            client.operations.wait(client.instances.delete(name).id, timeout_s=60)
    service.stop()
    left = json.loads(segment.run("nft", "--json", "list", "ruleset"))["nftables"]
    assert [item for item in left if "metainfo" not in item] == []
    assert segment.run("ip", "neigh", "show", "proxy") == ""
    assert "isv" not in segment.run("ip", "-o", "link")
    service.start()

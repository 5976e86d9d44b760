"""Networks, firewalls and forwards as their owners see them: asked of the service, tried by real guests."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from insula.base.errors import Conflict
from insula.client import Client
from insula.domain.firewall import Direction, Peer, PeerKind, PortRange, Rule, Traffic
from insula.domain.instance import PortForward
from insula.domain.operation import OperationState
from tests.chaos.orphans import processes_of
from tests.network.world import can_have_spaces
from tests.private_service import PrivateService, free_port

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open"),
]

_PORT = 7000


@pytest.fixture
def service() -> Iterator[PrivateService]:
    with PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg"}, images=("tiny",)) as running:
        yield running
        with running.client() as client:
            client.projects.delete("other")


def launch(client: Client, name: str) -> str:
    """A tiny instance that answers `NAME` to everybody who connects to the port; its IPv4 address."""
    made = client.instances.create(name, image="tiny", plan="micro-1")
    assert client.operations.wait(made.id, timeout_s=300).state is OperationState.SUCCEEDED
    run(client, name, f"(while :; do echo {name} | nc -l -p {_PORT}; done) > /dev/null 2>&1 < /dev/null &")
    return client.instances.get(name).ports[0].ipv4


def run(client: Client, instance: str, script: str) -> str:
    return client.guest.execute(instance, ["/bin/sh", "-c", script], timeout_s=120).stdout.decode().strip()


def heard(client: Client, instance: str, target: str) -> str:
    """What the instance gets when it connects to the port of the target; empty when nothing comes."""
    return run(client, instance, f"timeout 3 nc {target} {_PORT} < /dev/null 2> /dev/null | head -n 1")


def answer(port: int) -> bytes:
    """The same from the host, through a port that leads to an instance."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(5)
        try:
            return connection.recv(100).strip()
        except TimeoutError:
            return b""


def test_instances_meet_their_neighbours_as_far_as_they_may(service: PrivateService) -> None:
    with service.client() as client:
        first, second = launch(client, "web1"), launch(client, "web2")
        assert heard(client, "web1", "web2.internal") == "web2"
        assert heard(client, "web2", first) == "web1"
        assert f"inet {second}/16" in run(client, "web2", "ip -4 addr show eth0")

        each_learns_its_own_name(client, "web1", "web2")
        firewall = client.firewalls.create("db", instances=["web2"])
        assert heard(client, "web1", "web2") == ""
        told = client.firewalls.test("web2", "web1", port=_PORT)
        assert (told.passes, told.firewall, told.rule) == (False, "db", 0)
        rule = Rule("", Direction.INBOUND, traffic=Traffic.TCP, ports=(PortRange(_PORT, _PORT),))
        only_first = replace(rule, peers=(Peer(PeerKind.PREFIX, first),))
        changed = client.firewalls.add_rule("db", only_first)
        assert heard(client, "web1", "web2") == "web2"
        assert client.firewalls.test("web2", "web1", port=_PORT).rule == 1
        assert client.firewalls.traffic("db")[changed.rules[0].id].packets >= 1

        port = free_port()
        client.instances.add_forward("web2", PortForward(_PORT, port))
        assert answer(port) == b"", "only the first one may"
        client.firewalls.add_rule("db", rule)
        assert answer(port) == b"web2"
        client.instances.remove_forward("web2", port)
        with pytest.raises(ConnectionRefusedError):
            answer(port)
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Conflict) as refused:
            client.instances.add_forward("web2", PortForward(_PORT, taken.getsockname()[1]))
        assert refused.value.code == "port-in-use"
        assert heard(client, "web1", "web2") == "web2"

        counted = client.instances.traffic("web1").total
        assert counted.sent_packets > 10
        service.kill()
        service.start()
        assert heard(client, "web1", "web2") == "web2", "the network goes on without the service"
        assert client.instances.traffic("web1").total.sent_packets > counted.sent_packets
        client.firewalls.delete(firewall.id)
        client.projects.create("other")
    a_stranger_with_the_same_address(service, first)
    with service.client() as client:
        for name in ("web1", "web2"):
            client.operations.wait(client.instances.delete(name).id, timeout_s=120)
    service.stop()
    assert processes_of(service.home) == {}
    service.start()


def each_learns_its_own_name(client: Client, *names: str) -> None:
    for name in names:
        facts = run(client, name, "wget -q -O - http://169.254.169.254/meta-data")
        assert json.loads(facts)["local-hostname"] == name


def a_stranger_with_the_same_address(service: PrivateService, address: str) -> None:
    """He meets himself there, and nobody else."""
    with Client(f"unix:{service.home / 'run' / 'insula.sock'}", project="other") as client:
        assert launch(client, "theirs") == address
        assert heard(client, "theirs", address) == "theirs"
        assert heard(client, "theirs", "web1.internal") == ""
        client.operations.wait(client.instances.delete("theirs").id, timeout_s=120)

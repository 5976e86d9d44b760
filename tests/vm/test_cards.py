"""An instance gets a further network card while it runs, uses it, and loses it again."""

from __future__ import annotations

import pytest

from tests.network.world import can_have_spaces
from tests.private_service import PrivateService
from tests.vm.test_project_networks import heard, launch, run

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open"),
]

_USE = "ip link set eth1 up && udhcpc -n -q -i eth1 -s /usr/lib/insula/dhcp > /dev/null 2>&1; ip -4 addr show eth1"


def test_a_card_comes_and_goes_while_the_guest_runs() -> None:
    with PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg"}, images=("tiny",)) as service, service.client() as client:
        client.networks.create("backend", gateway=False)
        launch(client, "web1")
        made = client.instances.create("db1", image="tiny", plan="micro-1", network="backend")
        client.operations.wait(made.id, timeout_s=300)
        inside = client.instances.get("db1").ports[0].ipv4
        run(client, "db1", "(while :; do echo db1 | nc -l -p 7000; done) > /dev/null 2>&1 < /dev/null &")
        assert heard(client, "web1", inside) == "", "another network is out of reach"
        own = client.instances.attach_network("web1", "backend").ports[1].ipv4
        assert f"inet {own}/" in run(client, "web1", f"sleep 2; {_USE}")
        assert heard(client, "web1", inside) == "db1"
        assert run(client, "web1", "ip route").count("default") == 1
        client.operations.wait(client.instances.stop("web1", graceful_s=0).id)
        client.operations.wait(client.instances.start("web1").id, timeout_s=300)
        assert f"inet {own}/" in run(client, "web1", f"sleep 2; {_USE}"), "it is there after a start as well"
        client.instances.detach_network("web1", "backend")
        assert "eth1" not in run(client, "web1", "ls /sys/class/net")
        assert heard(client, "web1", inside) == ""

"""The life of a Linode by Linode's own clients, unmodified, on the fake driver."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.probes import PUBLIC_KEY
from tests.api.service_thread import Service
from tests.dialects.listening import listening, token_of, until

# Their own code is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with listening(tmp_path_factory.mktemp("store")) as found:
        yield found


@pytest.fixture
def token(service: Service) -> str:
    return token_of(service)


class _Life:
    """A Linode by linode_api4."""

    def __init__(self, service: Service, token: str) -> None:
        self.module: Any = importlib.import_module("linode_api4")
        self.client: Any = self.module.LinodeClient(token, base_url=f"{service.url}/v4")
        self.linode: Any = None

    def reaches(self, status: str) -> None:
        def holds() -> bool:
            self.linode.invalidate()
            return bool(self.linode.status == status)

        until(holds)

    def begin(self) -> None:
        data = self.client.linode.build_instance_metadata(user_data="#cloud-config\n")
        wish = {"image": "linode/debian12", "label": "la1", "authorized_keys": PUBLIC_KEY, "metadata": data}
        made = self.client.linode.instance_create("g6-nanode-1", "us-east", tags=["x"], **wish)
        self.linode = made[0] if isinstance(made, tuple) else made
        poller = self.client.polling.event_poller_create("linode", "linode_create")
        poller.set_entity_id(self.linode.id)
        assert poller.wait_for_next_event_finished(timeout=60, interval=1).status == "finished"
        self.reaches("running")

    def powers(self) -> None:
        for act, status in (
            (self.linode.shutdown, "offline"),
            (self.linode.boot, "running"),
            (self.linode.reboot, "running"),
        ):
            assert act()
            self.reaches(status)
        self.linode.label = "la2"
        assert self.linode.save()
        assert self.linode.resize("g6-standard-1")
        self.reaches("running")
        assert self.linode.rebuild("linode/debian12", authorized_keys=[PUBLIC_KEY])
        self.reaches("running")
        assert (self.linode.label, self.linode.type.id) == ("la2", "g6-standard-1")

    def looks(self) -> None:
        instance = self.module.Instance
        assert [one.id for one in self.client.linode.instances(instance.label == "la2")] == [self.linode.id]
        assert self.linode.ips.ipv4.public[0].address == "203.0.113.1"
        assert (len(self.linode.disks), len(self.linode.configs)) == (1, 1)
        assert "cpu" in self.linode.stats["data"]
        assert self.linode.transfer.quota == 0
        assert {event.action for event in self.client.account.events()} >= {"linode_create", "linode_resize"}
        with pytest.raises(self.module.ApiError) as refused:
            _ = self.module.Instance(self.client, 424242).label
        assert refused.value.status == 404

    def backs_up(self) -> None:
        assert self.linode.enable_backups()
        assert self.linode.snapshot("snap")
        until(lambda: self._available_backups().snapshot.current is not None)
        assert self.linode.cancel_backups()
        image = self.client.images.create(self.linode.disks[0].id, label="img")
        assert image.id.startswith("private/")
        assert image.delete()

    def _available_backups(self) -> Any:
        fresh = self.module.Instance(self.client, self.linode.id)
        return fresh.available_backups

    def stores(self) -> None:
        volume = self.client.volume_create("v1", region="us-east", size=10)
        assert volume.attach(self.linode)
        assert volume.resize(20)
        assert volume.detach()
        assert volume.delete()

    def connects(self) -> None:
        rule = {"protocol": "TCP", "ports": "22", "addresses": {"ipv4": ["0.0.0.0/0"]}, "action": "ACCEPT"}
        rules = {"inbound": [rule], "outbound": [], "inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
        wall = self.client.networking.firewall_create("fwl", rules=rules)
        device = wall.device_create(self.linode.id, "linode")
        assert len(wall.devices) == 1
        assert wall.get_rules()["inbound"][0]["ports"] == "22"
        assert device.delete()
        assert wall.delete()
        vpc = self.client.vpcs.create("vpc1", "us-east", subnets=[{"label": "s", "ipv4": "10.0.0.0/24"}])
        subnet = vpc.subnet_create("s2", ipv4="10.0.1.0/24")
        assert subnet.delete()
        assert vpc.delete()
        address = self.client.networking.ip_allocate(self.linode)
        assert address.address.startswith("203.0.113.")


def test_linode_api4(service: Service, token: str) -> None:
    life = _Life(service, token)
    client = life.client
    assert client.account().email == client.profile().email
    assert "us-east" in [region.id for region in client.regions()]
    assert len(client.images(life.module.Image.vendor == "Debian")) == 1
    key = client.profile.ssh_key_upload(PUBLIC_KEY, "k")
    tag = client.tag_create("tt")
    life.begin()
    life.powers()
    life.looks()
    life.backs_up()
    life.stores()
    life.connects()
    assert life.linode.delete()
    assert key.delete()
    assert tag.delete()
    for empty in (client.domains, client.nodebalancers, client.placement.groups, client.linode.stackscripts):
        assert list(empty()) == []


class _Cli:
    """linode-cli, whose settings are its own."""

    def __init__(self, service: Service, token: str, home: Path) -> None:
        host = service.url.removeprefix("http://")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LINODE_")}
        own = {"LINODE_CLI_API_HOST": host, "LINODE_CLI_API_SCHEME": "http", "LINODE_CLI_TOKEN": token}
        self._environment = kept | own | {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}

    def __call__(self, *words: str) -> list[dict[str, Any]]:
        argv = [str(Path(sys.executable).with_name("linode-cli")), *words, "--json", "--suppress-warnings"]
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return list(json.loads(done.stdout)) if done.stdout.strip() else []

    def status(self, number: str) -> str:
        return str(self("linodes", "view", number)[0]["status"])


def test_linode_cli(service: Service, token: str, tmp_path: Path) -> None:
    cli = _Cli(service, token, tmp_path)
    assert {"us-east", "eu-west"} <= {region["id"] for region in cli("regions", "list")}
    words = ("--type", "g6-nanode-1", "--region", "eu-west", "--image", "linode/debian12", "--label", "cli1")
    (made,) = cli("linodes", "create", *words, "--authorized_keys", PUBLIC_KEY, "--tags", "blue")
    number = str(made["id"])
    until(lambda: cli.status(number) == "running")
    cli("linodes", "shutdown", number)
    until(lambda: cli.status(number) == "offline")
    cli("linodes", "boot", number)
    until(lambda: cli.status(number) == "running")
    assert [one["id"] for one in cli("linodes", "list", "--label", "cli1")] == [made["id"]]
    assert cli("linodes", "list", "--tags", "green") == []
    cli("linodes", "update", number, "--label", "cli2")
    (volume,) = cli("volumes", "create", "--label", "cli-data", "--size", "10", "--linode_id", number)
    assert volume["linode_id"] == made["id"]
    cli("volumes", "detach", str(volume["id"]))
    cli("volumes", "delete", str(volume["id"]))
    rules = ("--rules.inbound_policy", "DROP", "--rules.outbound_policy", "ACCEPT")
    (wall,) = cli("firewalls", "create", "--label", "cli-wall", *rules)
    cli("firewalls", "device-create", str(wall["id"]), "--id", number, "--type", "linode")
    assert len(cli("firewalls", "devices-list", str(wall["id"]))) == 1
    cli("firewalls", "delete", str(wall["id"]))
    assert cli("events", "list")[0]["username"]
    assert cli("domains", "list") == []
    cli("linodes", "delete", number)
    assert cli("linodes", "list", "--label", "cli2") == []

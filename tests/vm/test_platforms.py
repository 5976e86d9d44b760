"""Guests whose machines say that they are on another platform: cloud-init finds that one's metadata and obeys it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from insula.client import Client
from tests.network.world import can_have_spaces
from tests.private_service import PrivateService

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open"),
]

_USER_DATA = """#!/bin/sh
cloud-init query v1.platform >> /root/ran
"""
# What an image that was made for a platform does at its first boot; ours has found its seed before.
_FIRST_BOOT = """
set -e
echo 'datasource_list: [{source}]' > /etc/cloud/cloud.cfg.d/99_source.cfg
rm -f /run/cloud-init/cloud.cfg
cloud-init clean --logs
cloud-init init --local
cloud-init init
cloud-init single --name scripts_user --frequency always
"""


@pytest.fixture(scope="module")
def service() -> Iterator[PrivateService]:
    with PrivateService("qemu", images=("debian-12",)) as service:
        yield service


@pytest.fixture
def client(service: PrivateService) -> Iterator[Client]:
    with service.client(timeout_s=120) as client:
        yield client


def _inside(client: Client, name: str, command: str) -> str:
    done = client.guest.execute(name, ["sh", "-c", command], timeout_s=900)
    assert done.exit_code == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("platform", "source", "vendor"),
    [("digitalocean", "DigitalOcean", "DigitalOcean"), ("ec2", "Ec2", "Amazon EC2")],
)
def test_user_data_arrives_by_the_platforms_metadata(client: Client, platform: str, source: str, vendor: str) -> None:
    options = {"platform": platform}
    wish = client.instances.create(platform, image="debian-12", user_data=_USER_DATA, options=options)
    client.operations.wait(wish.id, timeout_s=900)
    assert _inside(client, platform, "cat /sys/class/dmi/id/sys_vendor") == vendor
    assert _inside(client, platform, "cloud-init status --wait").endswith("status: done")
    _inside(client, platform, _FIRST_BOOT.format(source=source))
    assert _inside(client, platform, "cat /root/ran").split() == ["nocloud", platform]
    told = json.loads(_inside(client, platform, "cloud-init query --all"))
    assert told["v1"]["local_hostname"] == platform
    serial = _inside(client, platform, "cat /sys/class/dmi/id/product_serial")
    if platform == "digitalocean":
        assert told["v1"]["instance_id"] == serial
    else:
        assert serial.startswith("ec2")
        assert serial == _inside(client, platform, "cat /sys/class/dmi/id/product_uuid")


def test_a_guest_on_akamai_is_told_who_it_is_for_a_token(client: Client) -> None:
    wish = client.instances.create("akamai", image="debian-12", options={"platform": "akamai"})
    client.operations.wait(wish.id, timeout_s=900)
    shown = "cd /sys/class/dmi/id && cat sys_vendor product_serial board_serial"
    vendor, serial, board = _inside(client, "akamai", shown).split()
    assert (vendor, board) == ("Akamai", "v6=0")
    ask = "curl -sf -m 20 http://169.254.169.254"
    token = _inside(client, "akamai", f"{ask}/v1/token -X PUT -H 'Metadata-Token-Expiry-Seconds: 60'")
    told = _inside(client, "akamai", f"{ask}/v1/instance -H 'Metadata-Token: {token}' -H 'Accept: application/json'")
    assert (json.loads(told)["id"], json.loads(told)["label"]) == (int(serial), "akamai")
    refused = "curl -s -m 20 -o /dev/null -w '%{http_code}' http://169.254.169.254/v1/instance"
    assert _inside(client, "akamai", refused) == "401"


def test_a_machine_of_another_uuid_is_found_again(service: PrivateService, client: Client) -> None:
    wish = client.instances.create("found", image="debian-12", options={"platform": "ec2"})
    client.operations.wait(wish.id, timeout_s=900)
    boot = "cat /sys/class/dmi/id/product_uuid /proc/sys/kernel/random/boot_id"
    before = _inside(client, "found", boot)
    assert before.startswith("ec2")
    service.stop()
    service.start()
    with service.client(timeout_s=120) as again:
        assert again.instances.wait("found", timeout_s=60).state == "running"
        assert _inside(again, "found", boot) == before

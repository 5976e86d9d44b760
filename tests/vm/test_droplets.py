"""A droplet's life by DigitalOcean's own client, with real guests, up to a login over SSH from another machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.domain.access import Scope
from insula.domain.operation import Verb
from tests.network.world import can_have_spaces
from tests.private_service import PrivateService
from tests.vm.test_reserved_addresses import Segment, segment

__all__ = ["segment"]

pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_have_spaces(), reason="needs a /dev/net/tun that we may open"),
]

# It runs on the host, where the service is, prints the droplet's address, and goes on after a line of input.
_LIFE = """
import json, sys, time
import digitalocean

def until(holds):
    end = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)

def done(begun):
    number = begun["action"]["id"]
    until(lambda: digitalocean.Action.get_object(token, number).status == "completed")

token, public = sys.argv[1:]
key = digitalocean.SSHKey(token=token, name="test", public_key=public)
key.create()
droplet = digitalocean.Droplet(
    token=token, name="web.example.com", region="nyc3", image="tiny-x64", size_slug="micro-1", ssh_keys=[key]
)
droplet.create()
until(lambda: droplet.load().status == "active")
print(droplet.ip_address, flush=True)
sys.stdin.readline()
done(droplet.power_off())
done(droplet.power_on())
volume = digitalocean.Volume(token=token, name="data", region="nyc3", size_gigabytes=1)
volume.create()
done(droplet.take_snapshot("shot"))
done(volume.attach(droplet.id, "nyc3"))
print(json.dumps([droplet.load().status, len(droplet.volume_ids), len(droplet.get_snapshots())]), flush=True)
sys.stdin.readline()
done(volume.detach(droplet.id, "nyc3"))
volume.destroy()
for snapshot in digitalocean.Manager(token=token).get_droplet_snapshots():
    snapshot.destroy()
droplet.destroy()
key.destroy()
print("gone", flush=True)
"""


@pytest.fixture
def service(segment: Segment) -> Iterator[PrivateService]:
    made = PrivateService("qemu", {"INSULA_ACCELERATOR": "tcg", "INSULA_NETWORK": "auto"}, images=("tiny",))
    made.within = segment.host
    with made as running:
        yield running


def login(segment: Segment, address: str, key: Path, command: str) -> str:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=30"]
    argv = [*segment.neighbour, "ssh", "-q", "-i", str(key), *options, f"root@{address}", command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=90, check=True).stdout.strip()


def test_a_droplet_is_made_used_and_destroyed(
    segment: Segment,
    service: PrivateService,
    tmp_path: Path,
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    with service.client() as client:
        client.addresses.add_pool("lan", "192.0.2.64-192.0.2.70")
        token = client.tokens.create("do", [Scope.ADMIN], prefix="dop_v1_").secret
    public = key.with_suffix(".pub").read_text().strip()
    environment = {"PATH": "/usr/bin:/bin", "DIGITALOCEAN_END_POINT": f"http://{service.listen}/v2/"}
    with subprocess.Popen(
        [*segment.host, sys.executable, "-c", _LIFE, token, public],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as life:
        assert life.stdin is not None
        assert life.stdout is not None
        address = life.stdout.readline().strip()
        assert address == "192.0.2.64"
        assert login(segment, address, key, "hostname") == "web.example.com"
        life.stdin.write("\n")
        life.stdin.flush()
        assert json.loads(life.stdout.readline()) == ["active", 1, 1]
        assert login(segment, address, key, "cat /proc/sys/kernel/hostname") == "web.example.com"
        life.stdin.write("\n")
        life.stdin.flush()
        assert life.stdout.readline().strip() == "gone"
    assert life.returncode == 0
    with service.client() as client:
        for operation in client.operations.list(verb=Verb.DELETE_INSTANCE):
            client.operations.wait(operation.id, timeout_s=120)
        assert client.addresses.list() == []
        client.addresses.delete_pool("lan")

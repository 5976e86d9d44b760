"""A droplet's life by DigitalOcean's own client, with real guests, up to a login over SSH from another machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.world import can_have_spaces
from tests.private_service import PrivateService
from tests.vm.test_reserved_addresses import Segment, segment
from tests.vm.vendors import lives, service_in

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

public, token = sys.argv[1:3]
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
    with service_in(segment) as running:
        yield running


def test_a_droplet_is_made_used_and_destroyed(segment: Segment, service: PrivateService, tmp_path: Path) -> None:
    environment = {"DIGITALOCEAN_END_POINT": f"http://{service.listen}/v2/"}
    assert lives(segment, service, tmp_path, _LIFE, environment=environment) == ("web.example.com", ["active", 1, 1])

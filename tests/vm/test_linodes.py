"""A Linode's life by Linode's own client, with real guests, up to a login over SSH from another machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

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

# See `lives` for what it has to do when.
_LIFE = """
import json, os, sys, time
import linode_api4

def until(holds):
    end = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)

def reaches(status):
    def holds():
        linode.invalidate()
        return linode.status == status
    until(holds)

public, token = sys.argv[1:3]
client = linode_api4.LinodeClient(token, base_url=os.environ["URL"])
wish = {"image": "linode/tiny", "label": "web1", "authorized_keys": public, "root_pass": "correct horse"}
made = client.linode.instance_create("micro-1", "us-east", **wish)
linode = made[0] if isinstance(made, tuple) else made
reaches("running")
print(linode.ips.ipv4.public[0].address, flush=True)
sys.stdin.readline()
linode.shutdown()
reaches("offline")
linode.boot()
reaches("running")
image = client.images.create(linode.disks[0].id, label="shot")
until(lambda: linode_api4.Image(client, image.id).status == "available")
volume = client.volume_create("data", region="us-east", size=10)
volume.attach(linode)
shots = client.images(linode_api4.Image.label == "shot")
print(json.dumps([linode.status, len(linode.volumes()), len(shots)]), flush=True)
sys.stdin.readline()
volume.detach()
volume.delete()
image.delete()
linode.delete()
print("gone", flush=True)
"""


@pytest.fixture
def service(segment: Segment) -> Iterator[PrivateService]:
    with service_in(segment) as running:
        yield running


def test_a_linode_is_made_used_and_deleted(segment: Segment, service: PrivateService, tmp_path: Path) -> None:
    environment, command = {"URL": f"http://{service.listen}/v4"}, "hostname; grep ^root: /etc/shadow"
    said, told = lives(segment, service, tmp_path, _LIFE, environment=environment, command=command)
    name, shadow = said.splitlines()
    assert (name, told) == ("web1", ["running", 1, 1])
    assert sha512_crypt.verify("correct horse", shadow.split(":")[1])

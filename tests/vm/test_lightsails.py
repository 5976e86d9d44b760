"""An instance's life by boto3, with real guests, up to a login over SSH from another machine."""

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

# See `lives` for what it has to do when.
_LIFE = """
import json, os, sys, time
import boto3

def wait(begun):
    end = time.monotonic() + 240
    for one in begun.get("operations") or [begun["operation"]]:
        while not (found := client.get_operation(operationId=one["id"])["operation"])["isTerminal"]:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert found["status"] == "Succeeded", found

public, _, key_id, key_secret = sys.argv[1:]
client = boto3.client(
    "lightsail", region_name="us-east-1", endpoint_url=os.environ["URL"],
    aws_access_key_id=key_id, aws_secret_access_key=key_secret,
)
client.import_key_pair(keyPairName="k", publicKeyBase64=public)
zone = "us-east-1a"
wish = {"availabilityZone": zone, "blueprintId": "tiny", "bundleId": "micro-1", "keyPairName": "k"}
wait(client.create_instances(instanceNames=["web1"], **wish))
print(client.get_instance(instanceName="web1")["instance"]["publicIpAddress"], flush=True)
sys.stdin.readline()
wait(client.stop_instance(instanceName="web1"))
wait(client.start_instance(instanceName="web1"))
wait(client.create_instance_snapshot(instanceName="web1", instanceSnapshotName="shot"))
wait(client.create_disk(diskName="data", availabilityZone=zone, sizeInGb=8))
wait(client.attach_disk(diskName="data", instanceName="web1", diskPath="/dev/xvdf"))
found = client.get_instance(instanceName="web1")["instance"]
disks = [one for one in found["hardware"]["disks"] if not one["isSystemDisk"]]
shots = client.get_instance_snapshots()["instanceSnapshots"]
print(json.dumps([found["state"]["name"], len(disks), len(shots)]), flush=True)
sys.stdin.readline()
wait(client.detach_disk(diskName="data"))
wait(client.delete_disk(diskName="data"))
wait(client.delete_instance_snapshot(instanceSnapshotName="shot"))
wait(client.delete_instance(instanceName="web1"))
print("gone", flush=True)
"""


@pytest.fixture
def service(segment: Segment) -> Iterator[PrivateService]:
    with service_in(segment) as running:
        yield running


def test_an_instance_is_made_used_and_deleted(segment: Segment, service: PrivateService, tmp_path: Path) -> None:
    environment = {"URL": f"http://{service.listen}"}
    assert lives(segment, service, tmp_path, _LIFE, environment=environment) == ("web1", ["running", 1, 1])

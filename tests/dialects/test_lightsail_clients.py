"""The life of an instance by boto3, unmodified, on the fake driver."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.api.probes import PUBLIC_KEY
from tests.api.service_thread import Service
from tests.dialects.listening import PATIENCE_S, listening

# Its own code is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]
_ZONE = "us-east-1a"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with listening(tmp_path_factory.mktemp("store")) as found:
        yield found


def client_of(service: Service, *scopes: str, url: str = "") -> Any:
    """A client with a key of its own. It tries once: what fails must be seen."""
    body = {"name": "boto3", "scopes": scopes or ["admin"]}
    made = httpx.post(f"{service.url}/v1/tokens", json=body, headers=service.headers).json()
    return boto3.client(
        "lightsail",
        region_name="us-east-1",
        endpoint_url=url or service.url,
        aws_access_key_id=made["key_id"],
        aws_secret_access_key=made["key_secret"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def wait(client: Any, begun: dict[str, Any]) -> None:
    """Until all operations of an answer are over."""
    deadline_s = time.monotonic() + PATIENCE_S
    for one in begun.get("operations") or [begun["operation"]]:
        while not (found := client.get_operation(operationId=one["id"])["operation"])["isTerminal"]:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert found["status"] == "Succeeded", found
        assert found["createdAt"].tzinfo is not None


def test_boto3(service: Service) -> None:
    client = client_of(service)
    client.import_key_pair(keyPairName="k", publicKeyBase64=PUBLIC_KEY)
    assert client.create_key_pair(keyPairName="k2")["privateKeyBase64"].startswith("-----BEGIN RSA PRIVATE KEY")
    wish = {"availabilityZone": _ZONE, "blueprintId": "debian_12", "bundleId": "nano_3_0", "keyPairName": "k"}
    tags = [{"key": "a", "value": "b"}]
    wait(client, client.create_instances(instanceNames=["ls1"], userData="echo hi", tags=tags, **wish))
    instance = client.get_instance(instanceName="ls1")["instance"]
    assert (instance["state"]["name"], instance["tags"], instance["sshKeyName"]) == ("running", tags, "k")
    for act, state in ((client.stop_instance, "stopped"), (client.start_instance, "running")):
        wait(client, act(instanceName="ls1"))
        assert client.get_instance_state(instanceName="ls1")["state"]["name"] == state
    wait(client, client.reboot_instance(instanceName="ls1"))
    assert client.get_instance_access_details(instanceName="ls1")["accessDetails"]["username"] == "root"
    ports(client)
    beside(client)
    wait(client, client.create_instance_snapshot(instanceName="ls1", instanceSnapshotName="s1"))
    assert client.get_instance_snapshot(instanceSnapshotName="s1")["instanceSnapshot"]["state"] == "available"
    larger = {"availabilityZone": _ZONE, "bundleId": "small_3_0", "instanceSnapshotName": "s1"}
    wait(client, client.create_instances_from_snapshot(instanceNames=["ls2"], **larger))
    names = [one["name"] for page in client.get_paginator("get_instances").paginate() for one in page["instances"]]
    assert names == ["target", "ls1", "ls2"]
    for name in ("ls1", "ls2"):
        wait(client, client.delete_instance(instanceName=name))
    wait(client, client.delete_instance_snapshot(instanceSnapshotName="s1"))
    for name in ("k", "k2"):
        wait(client, client.delete_key_pair(keyPairName=name))
    with pytest.raises(client.exceptions.NotFoundException) as caught:
        client.get_instance(instanceName="ls1")
    assert caught.value.response["Error"]["Code"] == "NotFoundException"
    with pytest.raises(client.exceptions.OperationFailureException):
        client.create_load_balancer(loadBalancerName="lb", instancePort=80)
    assert client.get_load_balancers()["loadBalancers"] == []


def ports(client: Any) -> None:
    web, ssh = ({"fromPort": port, "toPort": port, "protocol": "tcp"} for port in (443, 22))
    wait(client, client.open_instance_public_ports(instanceName="ls1", portInfo=web))
    assert len(client.get_instance_port_states(instanceName="ls1")["portStates"]) == 3
    wait(client, client.put_instance_public_ports(instanceName="ls1", portInfos=[ssh]))
    wait(client, client.close_instance_public_ports(instanceName="ls1", portInfo=ssh))
    assert client.get_instance_port_states(instanceName="ls1")["portStates"] == []


def beside(client: Any) -> None:
    """What lies beside an instance: a disk, an address, tags, automatic snapshots, metrics."""
    wait(client, client.create_disk(diskName="d1", availabilityZone=_ZONE, sizeInGb=8))
    wait(client, client.attach_disk(diskName="d1", instanceName="ls1", diskPath="/dev/xvdf"))
    assert client.get_disk(diskName="d1")["disk"]["attachedTo"] == "ls1"
    wait(client, client.detach_disk(diskName="d1"))
    wait(client, client.delete_disk(diskName="d1"))
    wait(client, client.allocate_static_ip(staticIpName="ip1"))
    wait(client, client.attach_static_ip(staticIpName="ip1", instanceName="ls1"))
    assert client.get_static_ip(staticIpName="ip1")["staticIp"]["isAttached"]
    wait(client, client.detach_static_ip(staticIpName="ip1"))
    wait(client, client.release_static_ip(staticIpName="ip1"))
    wait(client, client.tag_resource(resourceName="ls1", tags=[{"key": "x", "value": "y"}]))
    wait(client, client.untag_resource(resourceName="ls1", tagKeys=["x"]))
    add_on = {"addOnType": "AutoSnapshot", "autoSnapshotAddOnRequest": {"snapshotTimeOfDay": "06:00"}}
    wait(client, client.enable_add_on(resourceName="ls1", addOnRequest=add_on))
    assert client.get_auto_snapshots(resourceName="ls1")["autoSnapshots"] == []
    now = datetime.datetime.now(datetime.UTC)
    span = {"startTime": now - datetime.timedelta(hours=1), "endTime": now, "period": 300}
    wish = {"metricName": "NetworkIn", "unit": "Bytes", "statistics": ["Sum"]}
    assert client.get_instance_metric_data(instanceName="ls1", **span, **wish)["metricName"] == "NetworkIn"
    assert client.get_operations_for_resource(resourceName="ls1")["operations"]


def test_a_prefix_in_the_url_will_do(service: Service) -> None:
    assert client_of(service, url=f"{service.url}/lightsail").get_regions()["regions"]


def test_a_key_that_may_only_look(service: Service) -> None:
    client = client_of(service, "keys:read")
    assert client.get_key_pairs()["keyPairs"] == []
    with pytest.raises(client.exceptions.AccessDeniedException):
        client.create_key_pair(keyPairName="x")


def test_the_settings_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `insula endpoint lightsail` prints them, and with another secret."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    body = {"name": "environment", "scopes": ["images:read"]}
    made = httpx.post(f"{service.url}/v1/tokens", json=body, headers=service.headers).json()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["key_secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_LIGHTSAIL", service.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert boto3.Session().client("lightsail").get_blueprints()["blueprints"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ClientError) as caught:
        boto3.Session().client("lightsail").get_blueprints()
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"

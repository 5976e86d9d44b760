"""Every supported operation of Lightsail's API, asked on the fake driver and held against botocore's description."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization

from insula.control.store import BackupFilter
from insula.domain.traffic import Counts, Reading
from insula.frontends.dialects.lightsail.coverage import COVERAGE
from tests.api.probes import PUBLIC_KEY
from tests.api.world import World
from tests.dialects import signed
from tests.dialects.botoshapes import lightsail
from tests.dialects.measuring import measured as ten_minutes
from tests.dialects.signed_contract import NEVER, ZONE, Contract

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contract(world: World) -> Contract:
    await world.admin("POST", "/v1/address-pools", json={"name": "public", "addresses": "203.0.113.0/28"})
    await world.add_store("elsewhere")
    return Contract(world, lightsail(), await signed.key(world))


async def test_regions_blueprints_and_bundles(contract: Contract) -> None:
    regions = (await contract.ask("GetRegions", includeAvailabilityZones=True))["regions"]
    assert len(regions) >= 13
    assert regions[0]["availabilityZones"][0] == {"zoneName": ZONE, "state": "available"}
    offered = [one["blueprintId"] for one in (await contract.ask("GetBlueprints"))["blueprints"]]
    assert {"debian_12", "tiny"} <= set(offered)
    bundles = {one["bundleId"]: one for one in (await contract.ask("GetBundles"))["bundles"]}
    assert (bundles["nano_3_0"]["cpuCount"], bundles["nano_3_0"]["ramSizeInGb"]) == (2, 0.5)
    assert "nano_2_0" not in bundles
    assert "entry-1" in bundles, "our plans are bundles as well"
    older = (await contract.ask("GetBundles", includeInactive=True))["bundles"]
    assert "nano_2_0" in [one["bundleId"] for one in older]


async def test_an_instance_lives(contract: Contract) -> None:
    tags = [{"key": "a", "value": "b"}, {"key": "who is it?", "value": "Ada & Bob"}, {"key": "plain"}]
    add_on = {"addOnType": "AutoSnapshot", "autoSnapshotAddOnRequest": {"snapshotTimeOfDay": "05:00"}}
    made = await contract.instance("Web_1.example", tags=tags, userData="echo hi", addOns=[add_on])
    assert made["name"] == "Web_1.example"
    assert made["state"] == {"code": 16, "name": "running"}
    assert made["location"] == {"availabilityZone": ZONE, "regionName": "us-east-1"}
    assert (made["blueprintId"], made["bundleId"], made["username"]) == ("tiny", "nano_3_0", "root")
    assert made["sshKeyName"] == "LightsailDefaultKeyPair"
    assert made["addOns"][0]["snapshotTimeOfDay"] == "05:00"
    assert sorted(one["key"] for one in made["tags"]) == ["a", "plain", "who is it?"]
    assert {"key": "who is it?", "value": "Ada & Bob"} in made["tags"]
    assert made["publicIpAddress"].startswith("203.0.113.")
    assert made["isStaticIp"] is False
    kept = await contract.world.store.instances.get("default", "web-1-example")
    assert kept.user_data == "#!/bin/sh\necho hi"
    assert kept.ssh_keys[0].startswith("ssh-ed25519 ")
    for name, state in (("StopInstance", "stopped"), ("StartInstance", "running"), ("RebootInstance", "running")):
        (ended,) = await contract.done(name, instanceName="Web_1.example")
        assert ended["operationType"] == name
        assert (await contract.ask("GetInstanceState", instanceName="Web_1.example"))["state"]["name"] == state
    (hard,) = await contract.done("StopInstance", instanceName="Web_1.example", force=True)
    assert hard["resourceType"] == "Instance"
    healthy = await contract.ask("GetInstances", includeHealthStatus=True)
    assert [one["name"] for one in healthy["instances"]] == ["Web_1.example"]
    assert healthy["instances"][0]["instanceStatus"]["status"] == "not-applicable"
    await contract.done("StartInstance", instanceName="Web_1.example")
    one = (await contract.ask("GetInstance", instanceName="Web_1.example", includeHealthStatus=True))["instance"]
    assert one["systemStatus"] == {"status": "ok", "details": [{"name": "reachability", "status": "passed"}]}
    healthy = await contract.ask("GetInstances", includeHealthStatus=True)
    access = (await contract.ask("GetInstanceAccessDetails", instanceName="Web_1.example"))["accessDetails"]
    assert (access["username"], access["ipAddress"]) == ("root", one["publicIpAddress"])
    await contract.gone("Web_1.example")
    assert await contract.refused("GetInstance", instanceName="Web_1.example") == "NotFoundException"
    again = await contract.instance("Web_1.example")
    assert again["supportCode"] != made["supportCode"]
    await contract.gone("Web_1.example")


async def test_several_instances_at_once_or_none(contract: Contract) -> None:
    body = {"availabilityZone": ZONE, "blueprintId": "tiny", "bundleId": "nano_3_0"}
    await contract.done("CreateInstances", instanceNames=["one", "two"], **body)
    for names in (["three", "two"], ["three", "three"], []):
        assert await contract.refused("CreateInstances", instanceNames=names, **body) == "InvalidInputException"
    for wrong, expected in (
        ({"bundleId": "huge"}, "InvalidInputException"),
        ({"blueprintId": "none"}, "NotFoundException"),
        ({"availabilityZone": "moon-1a"}, "InvalidInputException"),
        ({"keyPairName": "none"}, "NotFoundException"),
        ({"ipAddressType": "ipv6"}, "OperationFailureException"),
        ({"addOns": [{"addOnType": "StopInstanceOnIdle"}]}, "OperationFailureException"),
    ):
        assert await contract.refused("CreateInstances", instanceNames=["x"], **body | wrong) == expected
    assert [one["name"] for one in (await contract.ask("GetInstances"))["instances"]] == ["one", "two"]
    names = (await contract.ask("GetActiveNames"))["activeNames"]
    assert {"one", "two"} <= set(names)
    await contract.gone("one", "two")


async def test_key_pairs(contract: Contract) -> None:
    made = await contract.ask("CreateKeyPair", keyPairName="My_Key", tags=[{"key": "k", "value": "v"}])
    private = serialization.load_pem_private_key(made["privateKeyBase64"].encode(), None)
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    assert private.public_key().public_bytes(*openssh).decode() == made["publicKeyBase64"]
    assert (await contract.end(made["operation"]["id"]))["resourceName"] == "My_Key"
    shown = (await contract.ask("GetKeyPair", keyPairName="My_Key"))["keyPair"]
    assert shown == made["keyPair"]
    assert shown["tags"] == [{"key": "k", "value": "v"}]
    encoded = base64.b64encode(PUBLIC_KEY.encode()).decode()
    assert await contract.refused("ImportKeyPair", keyPairName="My_Key", publicKeyBase64=encoded)
    (done,) = await contract.done("ImportKeyPair", keyPairName="imported", publicKeyBase64=encoded)
    assert done["operationType"] == "ImportKeyPair"
    first = await contract.ask("DownloadDefaultKeyPair")
    own = serialization.load_ssh_private_key(first["privateKeyBase64"].encode(), None)
    assert own.public_key().public_bytes(*openssh).decode() == " ".join(first["publicKeyBase64"].split()[:2])
    again = await contract.ask("DownloadDefaultKeyPair")
    assert (again["publicKeyBase64"], again["createdAt"]) == (first["publicKeyBase64"], first["createdAt"])
    listed = [one["name"] for one in (await contract.ask("GetKeyPairs"))["keyPairs"]]
    assert listed == ["My_Key", "imported"]
    every = (await contract.ask("GetKeyPairs", includeDefaultKeyPair=True))["keyPairs"]
    assert "LightsailDefaultKeyPair" in [one["name"] for one in every]
    with_key = await contract.instance("keyed", keyPairName="imported")
    assert with_key["sshKeyName"] == "imported"
    kept = await contract.world.store.instances.get("default", "keyed")
    assert kept.ssh_keys == (PUBLIC_KEY,)
    await contract.gone("keyed")
    wrong = {"keyPairName": "imported", "expectedFingerprint": "SHA256:none"}
    assert await contract.refused("DeleteKeyPair", **wrong) == "OperationFailureException"
    await contract.done("DeleteKeyPair", keyPairName="imported")
    assert await contract.refused("GetKeyPair", keyPairName="imported") == "NotFoundException"
    await contract.done("DeleteKeyPair", keyPairName="My_Key")


async def test_public_ports(contract: Contract) -> None:
    one, _ = await contract.instance("walled"), await contract.instance("other")
    assert [port["fromPort"] for port in one["networking"]["ports"]] == [22, 80]
    assert one["networking"]["ports"][0]["accessFrom"] == "Anywhere (0.0.0.0/0 and ::/0)"

    async def states(name: str = "walled") -> list[tuple[str, int, int]]:
        found = (await contract.ask("GetInstancePortStates", instanceName=name))["portStates"]
        return [(port["protocol"], port["fromPort"], port["toPort"]) for port in found]

    web = {"fromPort": 443, "toPort": 444, "protocol": "tcp", "cidrs": ["198.51.100.0/24"]}
    (done,) = await contract.done("OpenInstancePublicPorts", instanceName="walled", portInfo=web)
    assert done["operationType"] == "OpenInstancePublicPorts"
    assert await states() == [("tcp", 22, 22), ("tcp", 80, 80), ("tcp", 443, 444)]
    assert await states("other") == [("tcp", 22, 22), ("tcp", 80, 80)]
    shown = (await contract.ask("GetInstancePortStates", instanceName="walled"))["portStates"][2]
    assert (shown["cidrs"], shown["ipv6Cidrs"], shown["state"]) == (["198.51.100.0/24"], [], "open")
    ping = {"fromPort": 8, "toPort": -1, "protocol": "icmp"}
    every = {"fromPort": 0, "toPort": 65535, "protocol": "udp", "ipv6Cidrs": ["2001:db8::/32"]}
    await contract.done("PutInstancePublicPorts", instanceName="walled", portInfos=[ping, every])
    assert await states() == [("icmp", 8, -1), ("udp", 0, 65535)]
    answer = await contract.world.admin(
        "POST", "/v1/firewall-test", json={"instance": "walled", "peer": "198.51.100.1", "traffic": "tcp", "port": 443}
    )
    assert answer.json()["passes"] is False, "what was open is closed"
    inside = await contract.world.admin(
        "POST", "/v1/firewall-test", json={"instance": "walled", "peer": "other", "traffic": "tcp", "port": 443}
    )
    assert inside.json()["passes"] is True, "the network inside is open"
    await contract.done("CloseInstancePublicPorts", instanceName="walled", portInfo=ping)
    assert await states() == [("udp", 0, 65535)]
    await contract.done("PutInstancePublicPorts", instanceName="walled", portInfos=[])
    assert await states() == []
    assert await contract.refused("CloseInstancePublicPorts", instanceName="walled", portInfo=ping)
    for wrong in (
        {"protocol": "gre"},
        {"fromPort": 9, "toPort": 8, "protocol": "tcp"},
        {"fromPort": 1, "toPort": 70000, "protocol": "tcp"},
        {"fromPort": 1, "toPort": 2, "protocol": "tcp", "cidrs": ["here"]},
        {"fromPort": 1, "toPort": 2, "protocol": "tcp", "cidrs": ["::/0"]},
        {"fromPort": 22, "toPort": 22, "protocol": "tcp", "cidrListAliases": ["lightsail-connect"]},
    ):
        assert await contract.refused("OpenInstancePublicPorts", instanceName="walled", portInfo=wrong)
    await contract.gone("walled", "other")
    assert await contract.world.store.firewalls.list("default") == [], "the last one takes its firewall along"


async def test_snapshots(contract: Contract) -> None:
    await contract.instance("origin", tags=[{"key": "t"}])
    body = {"instanceName": "origin", "instanceSnapshotName": "Before Update", "tags": [{"key": "s", "value": "1"}]}
    (done,) = await contract.done("CreateInstanceSnapshot", **body)
    assert (done["operationType"], done["resourceName"]) == ("CreateInstanceSnapshot", "Before Update")
    assert await contract.refused("CreateInstanceSnapshot", **body) == "InvalidInputException"
    shown = (await contract.ask("GetInstanceSnapshot", instanceSnapshotName="Before Update"))["instanceSnapshot"]
    assert (shown["fromInstanceName"], shown["fromBundleId"], shown["state"]) == ("origin", "nano_3_0", "available")
    assert shown["tags"] == [{"key": "s", "value": "1"}]
    assert (await contract.ask("GetInstanceSnapshots"))["instanceSnapshots"] == [shown]
    wish = {"instanceNames": ["copy"], "availabilityZone": ZONE, "bundleId": "small_3_0"}
    named = {"instanceSnapshotName": "Before Update"}
    (done,) = await contract.done("CreateInstancesFromSnapshot", **wish, **named)
    assert done["operationType"] == "CreateInstancesFromSnapshot"
    copy = (await contract.ask("GetInstance", instanceName="copy"))["instance"]
    assert (copy["bundleId"], copy["hardware"]["ramSizeInGb"]) == ("small_3_0", 2.0)
    mapping = {"attachedDiskMapping": {"origin": [{"originalDiskPath": "/dev/x", "newDiskName": "y"}]}}
    assert await contract.refused("CreateInstancesFromSnapshot", **wish, **named, **mapping)
    await contract.gone("origin", "copy")
    shown = (await contract.ask("GetInstanceSnapshot", instanceSnapshotName="Before Update"))["instanceSnapshot"]
    assert shown["fromInstanceName"] == "origin", "it is remembered when the instance is gone"
    await contract.done("DeleteInstanceSnapshot", instanceSnapshotName="Before Update")
    assert (await contract.ask("GetInstanceSnapshots"))["instanceSnapshots"] == []


async def test_disks(contract: Contract) -> None:
    await contract.instance("holder")
    body = {"diskName": "Data_1", "availabilityZone": ZONE, "sizeInGb": 8, "tags": [{"key": "d", "value": ""}]}
    await contract.ask("CreateDisk", **body)
    # Right after the other, without a wait: each goes on when the one before has ended.
    await contract.ask("AttachDisk", diskName="Data_1", instanceName="holder", diskPath="/dev/xvdf")
    (done,) = await contract.done("DetachDisk", diskName="Data_1")
    assert done["operationType"] == "DetachDisk"
    shown = (await contract.ask("GetDisk", diskName="Data_1"))["disk"]
    assert (shown["state"], shown["isAttached"], shown["sizeInGb"]) == ("available", False, 8)
    await contract.done("AttachDisk", diskName="Data_1", instanceName="holder", diskPath="/dev/xvdf")
    shown = (await contract.ask("GetDisk", diskName="Data_1"))["disk"]
    assert (shown["state"], shown["attachedTo"], shown["path"]) == ("in-use", "holder", "/dev/xvdf")
    assert (await contract.ask("GetDisks"))["disks"] == [shown]
    hardware = (await contract.ask("GetInstance", instanceName="holder"))["instance"]["hardware"]
    assert [disk["isSystemDisk"] for disk in hardware["disks"]] == [True, False]
    await contract.ask("GetInstances")
    assert await contract.refused("DeleteDisk", diskName="Data_1") == "OperationFailureException"
    assert await contract.refused("CreateDisk", **body) == "InvalidInputException"
    await contract.gone("holder")
    assert (await contract.ask("GetDisk", diskName="Data_1"))["disk"]["isAttached"] is False, "disks stay"
    await contract.done("DeleteDisk", diskName="Data_1")
    assert (await contract.ask("GetDisks"))["disks"] == []


async def test_static_ips(contract: Contract) -> None:
    made = await contract.instance("reached")
    (done,) = await contract.done("AllocateStaticIp", staticIpName="Front")
    assert (done["operationType"], done["resourceName"]) == ("AllocateStaticIp", "Front")
    assert await contract.refused("AllocateStaticIp", staticIpName="Front") == "InvalidInputException"
    (attached,) = await contract.done("AttachStaticIp", staticIpName="Front", instanceName="reached")
    assert (attached["resourceName"], attached["resourceType"]) == ("Front", "StaticIp")
    shown = (await contract.ask("GetStaticIp", staticIpName="Front"))["staticIp"]
    assert (shown["attachedTo"], shown["isAttached"]) == ("reached", True)
    assert (await contract.ask("GetStaticIps"))["staticIps"] == [shown]
    now = (await contract.ask("GetInstance", instanceName="reached"))["instance"]
    assert (now["publicIpAddress"], now["isStaticIp"]) == (shown["ipAddress"], True)
    await contract.done("DetachStaticIp", staticIpName="Front")
    now = (await contract.ask("GetInstance", instanceName="reached"))["instance"]
    assert (now["publicIpAddress"], now["isStaticIp"]) == (made["publicIpAddress"], False)
    await contract.done("AttachStaticIp", staticIpName="Front", instanceName="reached")
    await contract.done("ReleaseStaticIp", staticIpName="Front")
    assert (await contract.ask("GetStaticIps"))["staticIps"] == []
    await contract.gone("reached")


async def test_tags(contract: Contract) -> None:
    await contract.instance("tagged", tags=[{"key": "env", "value": "test"}])
    await contract.done("TagResource", resourceName="tagged", tags=[{"key": "env", "value": "prod"}, {"key": "x"}])

    async def tags() -> dict[str, str]:
        found = (await contract.ask("GetInstance", instanceName="tagged"))["instance"]["tags"]
        return {one["key"]: one["value"] for one in found}

    assert await tags() == {"env": "prod", "x": ""}
    assert (await contract.world.store.instances.get("default", "tagged")).tags == ("env:prod", "x")
    await contract.world.admin("PATCH", "/v1/instances/tagged", json={"tags": ["env:prod", "native"]})
    assert await tags() == {"env": "prod", "native": ""}, "what is changed elsewhere shows"
    (done,) = await contract.done("UntagResource", resourceName="tagged", tagKeys=["env", "nothing"])
    assert done["operationType"] == "UntagResource"
    assert await tags() == {"native": ""}
    body = {"diskName": "tagged-disk", "availabilityZone": ZONE, "sizeInGb": 8}
    await contract.done("CreateDisk", **body)
    await contract.done("TagResource", resourceName="tagged-disk", tags=[{"key": "=ä", "value": "1"}])
    assert (await contract.ask("GetDisk", diskName="tagged-disk"))["disk"]["tags"] == [{"key": "=ä", "value": "1"}]
    await contract.ask("CreateKeyPair", keyPairName="tagged-key")
    await contract.done("CreateDisk", **body | {"diskName": "tagged"})
    arn = (await contract.ask("GetDisk", diskName="tagged"))["disk"]["arn"]
    await contract.done("TagResource", resourceName="tagged", resourceArn=arn, tags=[{"key": "disk"}])
    assert await tags() == {"native": ""}, "the ARN tells that it is about the disk"
    await contract.done("DeleteDisk", diskName="tagged")
    await contract.done("TagResource", resourceName="tagged-key", tags=[{"key": "k", "value": "1"}])
    await contract.done("UntagResource", resourceName="tagged-key", tagKeys=["k"])
    assert (await contract.ask("GetKeyPair", keyPairName="tagged-key"))["keyPair"]["tags"] == []
    assert await contract.refused("TagResource", resourceName="none", tags=[]) == "NotFoundException"
    await contract.done("DeleteKeyPair", keyPairName="tagged-key")
    await contract.done("DeleteDisk", diskName="tagged-disk")
    await contract.gone("tagged")


async def test_automatic_snapshots(contract: Contract) -> None:
    await contract.instance("kept")
    add_on = {"addOnType": "AutoSnapshot", "autoSnapshotAddOnRequest": {"snapshotTimeOfDay": "06:00"}}
    (done,) = await contract.done("EnableAddOn", resourceName="kept", addOnRequest=add_on)
    assert done["operationType"] == "EnableAddOn"
    assert (await contract.ask("GetInstance", instanceName="kept"))["instance"]["addOns"][0]["status"] == "Enabled"
    await contract.ask("GetInstances")
    assert (await contract.ask("GetAutoSnapshots", resourceName="kept"))["autoSnapshots"] == []
    await contract.world.back_up("kept", "elsewhere")
    assert (await contract.ask("GetAutoSnapshots", resourceName="kept"))["autoSnapshots"] == [], "it is none of those"
    (backup,) = await contract.world.store.backups.list("default", where=BackupFilter())
    await contract.world.store.backups.change("default", backup.id, scheduled=True)
    (shown,) = (await contract.ask("GetAutoSnapshots", resourceName="kept"))["autoSnapshots"]
    assert (shown["date"], shown["status"]) == (f"{backup.created_at:%Y-%m-%d}", "Success")
    wish = {"instanceNames": ["restored"], "availabilityZone": ZONE, "bundleId": "nano_3_0"}
    for chosen in ({"restoreDate": shown["date"]}, {"useLatestRestorableAutoSnapshot": True}):
        await contract.done("CreateInstancesFromSnapshot", **wish, sourceInstanceName="kept", **chosen)
        await contract.gone("restored")
    missing = {"sourceInstanceName": "kept", "restoreDate": "2001-01-01"}
    assert await contract.refused("CreateInstancesFromSnapshot", **wish, **missing) == "NotFoundException"
    await contract.done("DeleteAutoSnapshot", resourceName="kept", date=shown["date"])
    assert (await contract.ask("GetAutoSnapshots", resourceName="kept"))["autoSnapshots"] == []
    await contract.done("DisableAddOn", resourceName="kept", addOnType="AutoSnapshot")
    off = {"resourceName": "kept", "addOnType": "AutoSnapshot"}
    assert await contract.refused("DisableAddOn", **off) == "OperationFailureException"
    await contract.gone("kept")


async def test_metrics(contract: Contract) -> None:
    await contract.instance("measured")
    found = await contract.world.store.instances.get("default", "measured")
    await measured(contract.world, found.id, found.ports[0].id)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    body = {"instanceName": "measured", "period": 3600, "startTime": now - 7200, "endTime": now + 10}
    every = ["Sum", "Average", "Minimum", "Maximum", "SampleCount"]
    wish = {**body, "unit": "Bytes", "statistics": every}
    shown = await contract.ask("GetInstanceMetricData", metricName="NetworkIn", **wish)
    assert [one["sum"] for one in shown["metricData"]] == [7.0]
    shown = await contract.ask("GetInstanceMetricData", metricName="NetworkOut", **wish)
    assert [one["maximum"] for one in shown["metricData"]] == [5.0]
    await ten_minutes(contract.world, found.id)
    cpu = {**body, "period": 300, "unit": "Percent", "statistics": ["Average"]}
    shown = await contract.ask("GetInstanceMetricData", metricName="CPUUtilization", **cpu)
    assert [one["average"] for one in shown["metricData"]] == pytest.approx([25 / found.resources.vcpus] * 3, rel=0.01)
    shown = await contract.ask("GetInstanceMetricData", metricName="NetworkIn", **wish | {"period": 60})
    assert sum(one["sum"] for one in shown["metricData"]) == pytest.approx(600e6, rel=0.01)
    assert (await contract.ask("GetInstanceMetricData", metricName="DiskReadOps", **cpu))["metricData"] == []
    for wrong in (
        {"metricName": "Mood"},
        {"metricName": "NetworkIn", "startTime": now + 99},
        {"metricName": "NetworkIn", "period": 10**400},
    ):
        assert await contract.refused("GetInstanceMetricData", **wish | wrong) == "InvalidInputException"
    await contract.gone("measured")


async def measured(world: World, instance_id: str, port_id: str) -> None:
    """Traffic that somebody has counted: 5 bytes out, 7 in."""
    readings = [Reading("default", instance_id, port_id, "e", Counts(5, 1, 7, 1))]
    await world.store.traffic.note(readings, datetime.datetime.now(datetime.UTC))


async def test_operations(contract: Contract) -> None:
    await contract.instance("worked-on")
    assert await contract.refused("GetOperationsForResource", resourceName="none") == "NotFoundException"
    await contract.ask("CreateKeyPair", keyPairName="quiet")
    assert (await contract.ask("GetOperationsForResource", resourceName="quiet"))["operations"] == []
    await contract.done("DeleteKeyPair", keyPairName="quiet")
    found = (await contract.ask("GetOperationsForResource", resourceName="worked-on"))["operations"]
    assert [one["operationType"] for one in found] == ["CreateInstance"]
    assert found[0] in (await contract.ask("GetOperations"))["operations"]
    for unknown in ("x", "00000000-0000-0000-0000-000000000000"):
        assert await contract.refused("GetOperation", operationId=unknown) == "NotFoundException"
    await contract.gone("worked-on")


async def test_what_failed_says_why(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    await contract.instance("failing")

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(contract.world.control.node, "stop", fail)
    begun = (await contract.ask("StopInstance", instanceName="failing"))["operations"][0]
    ended = await contract.end(begun["id"], "Failed")
    assert ended["errorCode"]
    assert ended["errorDetails"]
    monkeypatch.undo()
    await contract.gone("failing")


async def test_no_network_is_peered(contract: Contract) -> None:
    assert await contract.ask("IsVpcPeered") == {"isPeered": False}


async def test_every_operation_answers_with_every_documented_member(contract: Contract) -> None:
    """The last test: what the others have seen."""
    assert set(contract.seen) >= COVERAGE.supported
    absent = {
        name: {one for one in contract.known[name] - contract.seen[name] if not set(one.split(".")) & set(NEVER)}
        for name in COVERAGE.supported
    }
    assert {name: members for name, members in absent.items() if members} == {}
    assert len(COVERAGE.supported) >= 50

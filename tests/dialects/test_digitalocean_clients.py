"""The life of a droplet by DigitalOcean's own clients, unmodified, on the fake driver."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
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


class _Pydo:
    """Its client, which sends no bearer token over plain HTTP unless its policy is another one."""

    def __init__(self, service: Service, token: str) -> None:
        policies = importlib.import_module("azure.core.pipeline.policies")

        class Policy(policies.SansIOHTTPPolicy):  # type: ignore[misc, name-defined]  # it is known at run time only
            def on_request(self, request: Any) -> None:
                request.http_request.headers["Authorization"] = f"Bearer {token}"

        made = importlib.import_module("pydo").Client
        self.client = made(token=token, endpoint=service.url, authentication_policy=Policy())

    def act(self, droplet: int, **wish: Any) -> None:
        action = self.client.droplet_actions.post(droplet, body=wish)["action"]
        until(lambda: self.client.droplet_actions.get(droplet, action["id"])["action"]["status"] == "completed")


def test_pydo(service: Service, token: str) -> None:
    pydo = _Pydo(service, token)
    client: Any = pydo.client
    key = client.ssh_keys.create(body={"name": "pydo", "public_key": PUBLIC_KEY})["ssh_key"]
    wish = {"name": "pydo1", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", "tags": ["x"]}
    made = client.droplets.create(
        body={**wish, "ssh_keys": [key["fingerprint"]], "user_data": "#cloud-config\n", "ipv6": True}
    )
    number = made["droplet"]["id"]
    for link in made["links"]["actions"]:
        until(lambda link=link: client.actions.get(link["id"])["action"]["status"] == "completed")  # type: ignore[misc]
    assert client.droplets.get(number)["droplet"]["status"] == "active"
    for kind in ("power_off", "power_on", "reboot", "shutdown", "power_on"):
        pydo.act(number, type=kind)
    pydo.act(number, type="snapshot", name="s")
    pydo.act(number, type="power_off")
    pydo.act(number, type="resize", size="s-1vcpu-2gb", disk=True)
    pydo.act(number, type="rebuild", image="debian-12-x64")
    for kind in ("enable_backups", "disable_backups"):
        pydo.act(number, type=kind)
    pydo.act(number, type="rename", name="n2")
    droplet = client.droplets.get(number)["droplet"]
    assert (droplet["name"], droplet["size_slug"], len(droplet["snapshot_ids"])) == ("n2", "s-1vcpu-2gb", 1)
    shot = client.droplets.list_snapshots(number)["snapshots"][0]["id"]
    second = client.droplets.create(body={**wish, "name": "from-snapshot", "size": "s-1vcpu-2gb", "image": shot})
    until(lambda: client.droplets.get(second["droplet"]["id"])["droplet"]["status"] == "active")

    pydo_beside(client, number)
    assert len(client.droplets.list(per_page=1)["droplets"]) == 1
    for one in (number, second["droplet"]["id"]):
        client.droplets.destroy(one)
    client.ssh_keys.delete(key["id"])
    assert client.droplets.get(424242)["id"] == "not_found"  # it raises for nothing that is documented


def pydo_beside(client: Any, number: int) -> None:
    """What lies beside a droplet: volumes, addresses, firewalls, VPCs, tags."""
    volume = client.volumes.create(body={"name": "v", "region": "nyc3", "size_gigabytes": 1})["volume"]["id"]
    for body in (
        {"type": "attach", "droplet_id": number},
        {"type": "resize", "size_gigabytes": 2, "region": "nyc3"},
        {"type": "detach", "droplet_id": number},
    ):
        client.volume_actions.post_by_id(volume, body=body)
    client.volumes.delete(volume)
    ip = client.reserved_ips.create(body={"droplet_id": number})["reserved_ip"]["ip"]
    client.reserved_ips_actions.post(ip, body={"type": "unassign"})
    client.reserved_ips.delete(ip)
    rule = {"protocol": "tcp", "ports": "22", "sources": {"addresses": ["0.0.0.0/0"]}}
    wall = client.firewalls.create(body={"name": "f", "droplet_ids": [number], "inbound_rules": [rule]})["firewall"]
    assert client.firewalls.get(wall["id"])["firewall"]["inbound_rules"][0]["ports"] == "22"
    client.firewalls.delete(wall["id"])
    vpc = client.vpcs.create(body={"name": "v", "region": "nyc3", "ip_range": "10.9.0.0/24"})["vpc"]
    assert client.vpcs.list_members(vpc["id"])["members"] == []
    client.vpcs.delete(vpc["id"])
    client.tags.create(body={"name": "t"})
    tagged = {"resources": [{"resource_id": str(number), "resource_type": "droplet"}]}
    client.tags.assign_resources("t", body=tagged)
    assert [one["id"] for one in client.droplets.list(tag_name="t")["droplets"]] == [number]
    client.tags.delete("t")
    assert client.projects.get_default()["project"]["is_default"]


def test_python_digitalocean(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITALOCEAN_END_POINT", f"{service.url}/v2/")
    vendor: Any = importlib.import_module("digitalocean")
    manager = vendor.Manager(token=token)
    assert manager.get_account().status == "active"
    assert len(manager.get_all_regions()) >= 13
    assert len(manager.get_all_sizes()) >= 20
    assert "debian-12-x64" in [image.slug for image in manager.get_distro_images()]

    key = vendor.SSHKey(token=token, name="pk", public_key=PUBLIC_KEY)
    key.create()
    wish = {"region": "nyc3", "image": "debian-12-x64", "size_slug": "s-1vcpu-1gb", "ssh_keys": [key], "tags": ["z"]}
    droplet = vendor.Droplet(token=token, name="pd1", ipv6=True, user_data="#cloud-config", **wish)
    droplet.create()
    until(lambda: droplet.load().status == "active")
    assert droplet.ip_address

    def done(begun: Any) -> None:
        number = begun["action"]["id"]
        until(lambda: vendor.Action.get_object(token, number).status == "completed")

    for act in (droplet.power_off, droplet.power_on, droplet.reboot, droplet.shutdown, droplet.power_on):
        done(act())
    done(droplet.take_snapshot("s1"))
    done(droplet.power_off())
    done(droplet.resize("s-1vcpu-2gb", disk=True))
    done(droplet.rename("pd2"))
    done(droplet.rebuild("debian-12-x64"))
    done(droplet.enable_backups())
    done(droplet.disable_backups())
    assert droplet.load().name == "pd2"
    assert len(manager.get_droplet_snapshots()) >= 1
    python_digitalocean_beside(vendor, token, droplet)
    droplet.destroy()
    key.destroy()
    with pytest.raises(vendor.NotFoundError):
        manager.get_droplet(424242)


def python_digitalocean_beside(vendor: Any, token: str, droplet: Any) -> None:
    """What lies beside a droplet: volumes, addresses, firewalls, tags, VPCs, projects."""
    manager = vendor.Manager(token=token)
    volume = vendor.Volume(token=token, name="w", region="nyc3", size_gigabytes=1)
    volume.create()
    volume.attach(droplet.id, "nyc3")
    volume.resize(2, "nyc3")
    volume.detach(droplet.id, "nyc3")
    assert volume.get_snapshots() == []
    volume.destroy()
    address = vendor.FloatingIP(token=token, droplet_id=droplet.id)
    address.create()
    address.unassign()
    address.assign(droplet.id)
    address.destroy()
    anybody = vendor.Sources(addresses=["0.0.0.0/0"])
    outside = vendor.Destinations(addresses=["0.0.0.0/0"])
    wall = vendor.Firewall(
        token=token,
        name="f",
        droplet_ids=[droplet.id],
        inbound_rules=[vendor.InboundRule(protocol="tcp", ports="22", sources=anybody)],
        outbound_rules=[vendor.OutboundRule(protocol="tcp", ports="all", destinations=outside)],
    )
    wall.create()
    wall.add_tags(["z"])
    assert wall.load().tags == ["z"]
    wall.destroy()
    tag = vendor.Tag(token=token, name="tt")
    tag.create()
    tag.add_droplets([droplet.id])
    assert [one.id for one in manager.get_all_droplets(tag_name="tt")] == [droplet.id]
    tag.remove_droplets([droplet.id])
    tag.delete()
    vpc = vendor.VPC(token=token, name="vv", region="nyc3", ip_range="10.8.0.0/24")
    vpc.create()
    vpc.rename("v2")
    assert vpc.load().name == "v2"
    vpc.destroy()
    project = manager.get_default_project()
    project.load()
    assert project.is_default

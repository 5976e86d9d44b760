"""cloud-init's own sources of data, with this service to ask."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from insula.domain.network import Space
from insula.node.agent.metadata import Metadata
from insula.node.agent.metadata_shapes import akamai, digitalocean, ec2
from insula.node.network.none import NoNetwork
from tests.cloud_init.release import Release, show
from tests.unit.node.agent.metadata_shapes.example import FURTHER_MAC, KEYS, MAC, SPACE, SPEC, USER_DATA

pytestmark = pytest.mark.thorough

# The beginning of all: what is to be asked, and what the machine says, in place of this host's own.
_BEGIN = """
import json, sys, logging
url, shown = sys.argv[1:3]
macs = {"02:00:00:00:00:01": "eth0", "02:00:00:00:00:02": "eth1"}
from cloudinit import dmi, helpers, sources, util
from cloudinit.sources import DataSource%(source)s as module
dmi.DMI_SYS_PATH = shown
dmi.is_container = util.is_container = lambda: False
class Distro:
    name, fallback_interface, default_locale, network_renderer = "debian", "eth0", "C.UTF-8", None
    def __getattr__(self, name):
        raise AttributeError(name)
paths = helpers.Paths({"run_dir": "/nonexistent", "cloud_dir": "/nonexistent"})
"""
_END = """
data = found.get_userdata_raw()
print(json.dumps({
    "id": str(found.get_instance_id()),
    "known": bool(getattr(found, "check_instance_id", lambda cfg: None)({})),
    "keys": found.get_public_ssh_keys(),
    "data": data if isinstance(data, str) else data.decode(),
    "host": found.metadata.get("local-hostname"),
    "network": network,
}))
"""
_DIGITALOCEAN = (
    _BEGIN % {"source": "DigitalOcean"}
    + """
from cloudinit.sources.helpers import digitalocean as helper
helper.cloudnet.get_interfaces_by_mac = lambda: macs
module.BUILTIN_DS_CONFIG["metadata_url"] = url + "/metadata/v1.json"
configuration = {"datasource": {"DigitalOcean": {"use_ip4LL": False, "retries": 1}}}
found = module.DataSourceDigitalOcean(configuration, Distro(), paths)
assert found._get_data(), "not this platform"
network = found.network_config
"""
    + _END
)
_EC2 = (
    _BEGIN % {"source": "Ec2"}
    + """
module.net.get_interfaces_by_mac = lambda: macs
module.DataSourceEc2.metadata_urls = [url]
found = module.DataSourceEc2({"datasource": {"Ec2": {"max_wait": 5, "timeout": 5}}}, Distro(), paths)
assert found._get_data()
assert found.cloud_name == "aws", "not this platform"
assert found._api_token, "it has asked with a token"
network = found.network_config
"""
    + _END
)
_AKAMAI = (
    _BEGIN % {"source": "Akamai"}
    + """
module.BUILTIN_DS_CONFIG["base_urls"] = {"ipv4": url, "ipv6": "http://[::1]:9"}
found = module.DataSourceAkamai({}, Distro(), paths)
assert found._get_data()
network = None
"""
    + _END
)


class _Loopback(NoNetwork):
    """The example's space, whose guest asks from 127.0.0.1."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener

    def epochs(self) -> Mapping[str, str]:
        return {SPACE.id: "one"}

    async def open_metadata(self, space_id: str) -> socket.socket:
        return self._listener

    def instance_at(self, space_id: str, address: str) -> str | None:
        return SPEC.id if address == "127.0.0.1" else None

    def space(self, space_id: str) -> Space | None:
        return SPACE


@pytest.fixture
async def url() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        metadata = Metadata(_Loopback(listener), {SPEC.id: SPEC}.get)
        serving = asyncio.create_task(metadata.run())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _ask(release: Release, script: str, url: str, shown: Path) -> dict[str, Any]:
    return await asyncio.to_thread(release.run, script, (url, str(shown)))


async def test_digitalocean(release: Release, url: str, tmp_path: Path) -> None:
    told = await _ask(release, _DIGITALOCEAN, url, show(digitalocean.plate(SPEC), tmp_path))
    assert (told["id"], told["known"], told["host"]) == ("4711", True, "web1.example")
    assert (told["data"], told["keys"]) == (USER_DATA, list(KEYS))
    first, further, names = told["network"]["config"]
    assert (first["name"], first["mac_address"], further["mac_address"]) == ("eth0", MAC, FURTHER_MAC)
    assert first["subnets"][0] | {"control": ""} == {
        "type": "static",
        "control": "",
        "address": "10.42.0.17",
        "netmask": "255.255.0.0",
        "gateway": "10.42.0.1",
    }
    assert first["subnets"][1]["address"] == "fd00:1::11/128"
    assert names["address"] == ["10.42.0.1", "fd00:1::1"]


async def test_ec2(release: Release, url: str, tmp_path: Path) -> None:
    told = await _ask(release, _EC2, url, show(ec2.plate(SPEC), tmp_path))
    assert (told["id"], told["host"]) == (ec2.instance_id(SPEC), "web1.example")
    assert (told["data"], told["keys"]) == (USER_DATA, list(KEYS))
    cards = told["network"]["ethernets"]
    assert {card["match"]["macaddress"] for card in cards.values()} == {MAC, FURTHER_MAC}
    assert all(card["dhcp4"] and card["dhcp6"] for card in cards.values())


async def test_akamai(release: Release, url: str, tmp_path: Path) -> None:
    if not release.has("Akamai"):
        pytest.skip("the distribution's cloud-init does not know Akamai yet")
    told = await _ask(release, _AKAMAI, url, show(akamai.plate(SPEC), tmp_path))
    assert (told["id"], told["known"], told["data"]) == ("4711", True, USER_DATA)


@pytest.mark.parametrize("script", [_DIGITALOCEAN, _EC2], ids=["digitalocean", "ec2"])
async def test_none_of_them_is_where_the_machine_says_nothing(
    release: Release, url: str, tmp_path: Path, script: str
) -> None:
    shown = show(None, tmp_path)
    with pytest.raises(AssertionError, match="not this platform"):
        await _ask(release, script, url, shown)

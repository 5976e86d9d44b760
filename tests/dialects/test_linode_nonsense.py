"""Every operation of Linode's API gets bodies and names that make no sense, and things that exist: nothing breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insula.frontends.dialects.dialect import Operation
from insula.frontends.dialects.linode import DIALECT
from tests.api.probes import PUBLIC_KEY
from tests.api.service_thread import Service, service_thread

# The service lives in a thread of this process; hypothesis takes its use of chance for the strategies'.
pytestmark = [pytest.mark.filterwarnings("ignore:Do not use the `random` module"), pytest.mark.thorough]

_ANSWER_S = 20
_FIELDS = (
    *("label", "type", "region", "image", "tags", "size", "linode_id", "id", "ipv4", "ipv6", "subnets", "rules"),
    *("inbound", "outbound", "inbound_policy", "devices", "addresses", "assignments", "scopes", "expiry", "disk_id"),
    *("metadata", "interfaces", "authorized_keys", "authorized_users", "root_pass", "backup_id", "firewall_id"),
    *("firewall_ids", "linodes", "volumes", "ssh_key", "description", "status", "alerts", "rdns", "public"),
)
_SENSE: tuple[Any, ...] = (
    None,
    True,
    "us-east",
    "g6-nanode-1",
    "linode/tiny",
    "10.99.0.0/24",
    PUBLIC_KEY,
    [],
    {},
    20,
    "ipv4",
    "linode",
)
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(_SENSE)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=3)),
    max_leaves=6,
)
_bodies = st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=8)
_filters = st.sampled_from(
    ["", "{", "[]", '{"label": {"+gt": []}}', '{"+order_by": "specs"}', '{"tags": {"+contains": 1}}']
)
_names = st.text(max_size=12).filter(lambda text: text not in {"", ".", ".."} and "/" not in text)

generously = settings(
    max_examples=4, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with service_thread() as running:
        for path, name in (("linode/instances", "linode"), ("volumes", "volume"), ("vpcs", "vpc")):
            found = httpx.get(f"{running.url}/v4/{path}", headers=running.headers).json()["data"]
            running.things[name] = str(found[0]["id"])
        place = f"{running.url}/v4/linode/instances/{running.things['linode']}"
        for path, name in (("disks", "disk"), ("configs", "config")):
            running.things[name] = str(httpx.get(f"{place}/{path}", headers=running.headers).json()["data"][0]["id"])
        running.things |= {"kind": "linode", "image": "tiny", "region": "us-east"}
        yield running


def filled(path: str, known: Mapping[str, str], name: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: quote(known.get(place[1], name), safe=""), path)


@pytest.mark.parametrize("entry", DIALECT.operations, ids=lambda entry: entry.name)
def test_nothing_breaks(service: Service, entry: Operation) -> None:
    @generously
    @given(body=_bodies, where=_filters, name=_names)
    def check(body: dict[str, Any], where: str, name: str) -> None:
        real = service.things if entry.method != "DELETE" else {}  # what exists is for the others as well
        for path in (filled(entry.path, {}, name), filled(entry.path, real, name)):
            headers = {**service.headers, "X-Filter": where}
            content = json.dumps(body).encode()
            answer = httpx.request(
                entry.method, f"{service.url}/v4{path}", headers=headers, content=content, timeout=_ANSWER_S
            )
            assert answer.status_code < 500, answer.text
            assert answer.status_code < 400 or answer.json()["errors"][0]["reason"]

    check()

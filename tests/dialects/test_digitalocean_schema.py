"""DigitalOcean's specification against the service: schemathesis calls what is supported, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from insula.frontends.dialects.digitalocean.coverage import COVERAGE
from tests.api.service_thread import Service, service_thread
from tests.dialects.openapi import SPECIFICATIONS

# The service lives in a thread of this process; hypothesis takes its use of chance for the strategies'.
pytestmark = [pytest.mark.filterwarnings("ignore:Do not use the `random` module"), pytest.mark.thorough]

ANSWER_S = 20
_FILE = SPECIFICATIONS / "digitalocean-openapi.json"

generously = settings(
    max_examples=5, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def supported() -> dict[str, Any]:
    """The specification with nothing but what is supported."""
    document: dict[str, Any] = json.loads(_FILE.read_text())
    for path, methods in list(document["paths"].items()):
        kept = {
            method: operation
            for method, operation in methods.items()
            if not isinstance(operation, dict) or operation.get("operationId") in COVERAGE.supported
        }
        document["paths"][path] = kept
        if not any(isinstance(one, dict) and "operationId" in one for one in kept.values()):
            del document["paths"][path]
    del document["servers"]
    return document


if not _FILE.is_file():
    pytest.skip("DigitalOcean's specification is not at hand", allow_module_level=True)
schema = schemathesis.openapi.from_dict(supported())


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with service_thread() as running:
        headers = running.headers
        tag = httpx.post(f"{running.url}/v2/tags", json={"name": "real"}, headers=headers)
        tag.raise_for_status()
        droplets = httpx.get(f"{running.url}/v2/droplets", headers=headers).json()["droplets"]
        volumes = httpx.get(f"{running.url}/v2/volumes", headers=headers).json()["volumes"]
        networks = httpx.get(f"{running.url}/v2/vpcs", headers=headers).json()["vpcs"]
        running.things |= {"droplet_id": str(droplets[0]["id"]), "volume_id": volumes[0]["id"]}
        running.things |= {"vpc_id": networks[0]["id"], "tag_id": "real", "image_id": "tiny-x64"}
        yield running


def test_every_supported_operation_is_called() -> None:
    assert len(list(schema.get_all_operations())) == len(COVERAGE.supported)


@schema.parametrize()
@generously
def test_nothing_breaks(case: schemathesis.Case[Any], service: Service) -> None:
    """With things that are made up, and with things that exist."""
    for known in ({}, service.things):
        case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        if known and case.method == "DELETE" and "/" not in case.path.removeprefix("/v2/").partition("/{")[2]:
            continue  # what exists is for the others as well
        response = case.call(base_url=service.url, headers=service.headers, timeout=ANSWER_S)
        case.validate_response(response, checks=[not_a_server_error])

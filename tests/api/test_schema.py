"""The OpenAPI document against the service: schemathesis calls every endpoint as it says, and as it does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from insula.frontends.api import app  # noqa: F401 - its import registers the endpoints
from insula.frontends.api.endpoint import ENDPOINTS
from insula.frontends.api.openapi import document
from tests.api.schema_exceptions import EXEMPTIONS, MOST, is_exempt
from tests.api.service_thread import Service, service_thread

# The service lives in a thread of this process; hypothesis takes its use of chance for the strategies'.
pytestmark = [pytest.mark.filterwarnings("ignore:Do not use the `random` module"), pytest.mark.thorough]

CONSOLE = "/v1/instances/{instance}/console"
ANSWER_S = 20

generously = settings(
    max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def reachable(described: dict[str, Any]) -> dict[str, Any]:
    """Without the WebSocket, and without the project: a made-up one would end every request at the door."""
    del described["paths"][CONSOLE]
    for methods in described["paths"].values():
        for operation in methods.values():
            operation["parameters"] = [p for p in operation["parameters"] if p["name"] != "Insula-Project"]
    return described


schema = schemathesis.openapi.from_dict(reachable(document()))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with service_thread() as running:
        yield running


def test_few_exceptions() -> None:
    assert len(EXEMPTIONS) <= MOST
    assert all(one.reason for one in EXEMPTIONS)


def test_every_endpoint_is_called(request: pytest.FixtureRequest) -> None:
    """By an id of its own: workers take one id for one test."""
    ids = [item.nodeid for item in request.session.items if item.name.startswith("test_endpoints_keep_their_word[")]
    assert len(set(ids)) == len(ids)
    if not request.config.getoption("keyword"):
        assert len(ids) == len([entry for entry in ENDPOINTS if entry.path != CONSOLE])


@schema.parametrize()
@generously
def test_endpoints_keep_their_word(case: schemathesis.Case[Any], service: Service) -> None:
    endpoint = f"{case.method} {case.path}"
    try:
        case.call_and_validate(base_url=service.url, headers=service.headers, timeout=ANSWER_S)
    except FailureGroup as group:
        if not all(is_exempt(endpoint, type(failure).__name__, str(group)) for failure in group.exceptions):
            raise


@schema.include(path_regex="{(instance|volume|snapshot|image|operation)}").exclude(method="DELETE").parametrize()
@generously
def test_real_things_never_break_it(case: schemathesis.Case[Any], service: Service) -> None:
    """The same with things that exist: most made-up names end in a 404."""
    case.path_parameters = {name: service.things[name] for name in case.path_parameters}
    response = case.call(base_url=service.url, headers=service.headers, timeout=ANSWER_S)
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    case.validate_response(response, checks=checks)

"""Whatever is sent to an operation, of the documented types or of others, it is never the service that breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.service_thread import Service, service_thread
from tests.dialects.botoshapes import lightsail

# The service lives in a thread of this process; hypothesis takes its use of chance for the strategies'.
pytestmark = [pytest.mark.filterwarnings("ignore:Do not use the `random` module"), pytest.mark.thorough]
ANSWER_S = 70
_KNOWN = ("target", "target-1", "tiny", "nano_3_0", "us-east-1a", "tcp", "AutoSnapshot", "NetworkIn")

generously = settings(
    max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def of_shape(shape: Any) -> st.SearchStrategy[Any]:
    """Values of a shape, and now and then others."""
    return st.one_of(_right(shape), _right(shape), _right(shape), anything)


def _right(shape: Any) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    if kind == "structure":
        members = {name: of_shape(inner) for name, inner in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    if kind == "list":
        return st.lists(of_shape(shape.member), max_size=3)
    if kind == "map":
        return st.dictionaries(st.text(max_size=5), of_shape(shape.value), max_size=2)
    if kind == "boolean":
        return st.booleans()
    if kind in {"integer", "long"}:
        return st.integers(-10, 100) | st.integers()
    if kind in {"float", "double", "timestamp"}:
        return st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**31)
    chosen = st.sampled_from(shape.enum) if getattr(shape, "enum", None) else st.sampled_from(_KNOWN)
    return chosen | st.text(max_size=20)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with service_thread() as running:
        body = {"name": "pool", "addresses": "203.0.113.0/28"}
        httpx.post(f"{running.url}/v1/address-pools", json=body, headers=running.headers).raise_for_status()
        made = httpx.post(f"{running.url}/v1/tokens", json={"name": "x", "scopes": ["admin"]}, headers=running.headers)
        running.things |= {"key_id": made.json()["key_id"], "key_secret": made.json()["key_secret"]}
        yield running


@pytest.mark.parametrize("name", sorted(lightsail().operations))
def test_nothing_breaks(service: Service, name: str) -> None:
    credentials = Credentials(service.things["key_id"], service.things["key_secret"])
    shape = lightsail().model.operation_model(name).input_shape

    @generously
    @given(of_shape(shape))
    def check(body: Any) -> None:
        headers = {"X-Amz-Target": f"Lightsail_20161128.{name}", "Content-Type": "application/x-amz-json-1.1"}
        made = AWSRequest("POST", f"{service.url}/", data=json.dumps(body), headers=headers)
        SigV4Auth(credentials, "lightsail", "us-east-1").add_auth(made)
        sent = made.prepare()
        answer = httpx.post(sent.url, content=sent.body, headers=dict(sent.headers), timeout=ANSWER_S)
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 400:
            assert answer.json()["__type"].endswith("Exception")

    check()

"""`insula address` and `insula address-pool` as people type them."""

from __future__ import annotations

import json

import pytest

from insula.base.errors import Conflict, InvalidInput
from insula.client import Client
from tests.client.test_forward_commands import insula


def test_an_address_is_reserved_led_and_given_back(client: Client) -> None:
    assert "No pool" in insula("address-pool", "list")
    said = insula("address-pool", "add", "public", "203.0.113.0/29")
    assert said.startswith("Pool public has 203.0.113.1 to 203.0.113.6.")
    assert "No address" in insula("address", "list")
    for name in ("web1", "web2"):
        insula("create", name, "--image", "tiny", "--plan", "micro-1", "--no-own-key")
    assert insula("address", "reserve", "--to", "web1") == "203.0.113.1 is yours and leads to web1\n"
    assert insula("address", "assign", "203.0.113.1", "web2") == "203.0.113.1 leads to web2\n"
    assert "203.0.113.1" in insula("show", "web2")
    assert "203.0.113.1" not in insula("show", "web1")
    assert insula("address", "list").splitlines()[1].split()[:2] == ["203.0.113.1", "web2"]
    lines = [line.split() for line in insula("address", "history", "203.0.113.1").splitlines()[1:]]
    assert [(line[0], line[-1]) for line in lines] == [("web2", "still"), ("web1", "ago")]
    with pytest.raises(Conflict):
        insula("address", "release", "203.0.113.1")
    insula("address", "unassign", "203.0.113.1")
    assert json.loads(insula("address", "list", "--json"))[0]["instance_id"] is None
    with pytest.raises(Conflict):
        insula("address-pool", "delete", "public")
    insula("address", "release", "203.0.113.1")
    insula("address-pool", "delete", "public")
    with pytest.raises(InvalidInput):
        insula("address-pool", "add", "wrong", "203.0.113.0/99")
    for name in ("web1", "web2"):
        insula("delete", name, "--yes")

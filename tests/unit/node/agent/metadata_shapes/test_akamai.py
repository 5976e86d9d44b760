"""Akamai's form of metadata."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from insula.node.agent.metadata_shapes.akamai import plate
from insula.node.agent.metadata_shapes.tokens import Tokens

from .example import KEYS, SPEC, SUBJECT, USER_DATA, Guest

_PATHS = ("/v1/instance", "/v1/network", "/v1/ssh-keys", "/v1/user-data")
_JSON = "application/json"


def _token(guest: Guest, lifetime: str = "300") -> str:
    answer = guest.ask("/v1/token", "PUT", metadata_token_expiry_seconds=lifetime)
    assert answer.status == 200
    return answer.body.decode()


@pytest.mark.parametrize("path", _PATHS)
def test_nothing_is_told_without_a_token_of_this_instance(path: str) -> None:
    guest = Guest()
    other = Guest(replace(SUBJECT, spec=replace(SPEC, id="ins_2")), guest.tokens)
    assert guest.ask(path).status == 401
    assert guest.ask(path, metadata_token="123.abc").status == 401
    assert guest.ask(path, metadata_token=_token(other)).status == 401
    assert guest.ask(path, metadata_token=_token(guest)).status == 200
    assert guest.ask(path, "PUT", metadata_token=_token(guest)).status == 405


def test_a_token_ends_when_it_was_asked_to() -> None:
    now = [1000.0]
    guest = Guest(tokens=Tokens(lambda: now[0]))
    token = _token(guest, "60")
    now[0] += 59
    assert guest.ask("/v1/instance", metadata_token=token).status == 200
    now[0] += 1
    assert guest.ask("/v1/instance", metadata_token=token).status == 401


@pytest.mark.parametrize("lifetime", ["", "0", "-1", "86401", "ten", "1e3", "³", "9" * 100])
def test_a_lifetime_that_cannot_be_is_refused(lifetime: str) -> None:
    assert Guest().ask("/v1/token", "PUT", metadata_token_expiry_seconds=lifetime).status == 400


def test_tokens_are_asked_for_with_put_only() -> None:
    assert Guest().ask("/v1/token", metadata_token_expiry_seconds="300").status == 405
    answer = Guest().ask("/v1/token", "PUT", metadata_token_expiry_seconds="86400", accept=_JSON)
    assert len(json.loads(answer.body)) == 1


def _told(path: str, **headers: str) -> str:
    guest = Guest()
    return guest.read(path, metadata_token=_token(guest), **headers)


def test_the_instance_is_told_as_json_and_as_lines() -> None:
    told = json.loads(_told("/v1/instance", accept=_JSON))
    assert (told["id"], told["label"], told["region"], told["tags"]) == (4711, "web1", "us-east", ["web", "env:test"])
    assert told["specs"] == {"vcpus": 2, "memory": 512, "disk": 10240, "transfer": 0, "gpus": 0}
    lines = _told("/v1/instance").splitlines()
    assert {"id: 4711", "specs.memory: 512", "tags: web", "tags: env:test", "backups.enabled: False"} <= set(lines)


def test_the_network_is_told() -> None:
    told = json.loads(_told("/v1/network", accept=_JSON))
    assert [one["purpose"] for one in told["interfaces"]] == ["public", "vpc"]
    assert told["interfaces"][1]["ipam_address"] == "10.43.0.18/24"
    assert told["ipv4"] == {"public": ["203.0.113.5/32"], "private": ["10.42.0.17/32", "10.43.0.18/32"], "shared": []}
    assert told["ipv6"]["slaac"] == "fd00:1::11/128"


def test_keys_and_user_data_are_told() -> None:
    assert json.loads(_told("/v1/ssh-keys", accept=_JSON)) == {"users": {"root": list(KEYS)}}
    assert base64.b64decode(_told("/v1/user-data")).decode() == USER_DATA
    guest = Guest(replace(SUBJECT, spec=replace(SPEC, user_data="")))
    assert guest.read("/v1/user-data", metadata_token=_token(guest)) == ""


def test_the_plate_says_what_cloud_init_looks_for() -> None:
    told = plate(SPEC)
    assert (told.manufacturer, told.serial, told.board_serial) == ("Akamai", "4711", "v6=0")

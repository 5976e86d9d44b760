"""EC2's form of metadata."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from insula.node.agent.metadata_shapes.ec2 import VERSIONS, plate
from insula.node.agent.metadata_shapes.tokens import Tokens

from .example import KEYS, MAC, SPEC, SUBJECT, USER_DATA, Guest


def _token(guest: Guest, lifetime: str = "21600") -> str:
    answer = guest.ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds=lifetime)
    assert answer.status == 200
    assert answer.headers == {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": lifetime}
    return answer.body.decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_answers(version: str) -> None:
    assert re.fullmatch(r"i-[0-9a-f]{17}", Guest().read(f"/{version}/meta-data/instance-id"))
    assert Guest().ask("/2099-01-01/meta-data/instance-id").status == 404


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "meta-data/\ndynamic/\nuser-data"),
        ("user-data", USER_DATA),
        ("meta-data/hostname", "web1.example"),
        ("meta-data/instance-type", "2vcpu-512mib"),
        ("meta-data/mac", MAC),
        ("meta-data/local-ipv4", "10.42.0.17"),
        ("meta-data/public-ipv4", "203.0.113.5"),
        ("meta-data/placement/availability-zone", "us-east-1a"),
        ("meta-data/placement/region", "us-east-1"),
        ("meta-data/public-keys/", "0=ada@laptop\n1=key-1"),
        ("meta-data/public-keys/0/", "openssh-key"),
        ("meta-data/public-keys/1/openssh-key", KEYS[1]),
        ("meta-data/network/interfaces/macs/", "02:00:00:00:00:01/\n02:00:00:00:00:02/"),
        (f"meta-data/network/interfaces/macs/{MAC}/subnet-ipv4-cidr-block", "10.42.0.0/16"),
        (f"meta-data/network/interfaces/macs/{MAC}/device-number", "0"),
        ("dynamic/instance-identity", "document"),
    ],
)
def test_the_tree(path: str, text: str) -> None:
    assert Guest().read(f"/latest/{path}") == text


def test_folders_are_listed_with_and_without_a_slash() -> None:
    listed = Guest().read("/latest/meta-data/").splitlines()
    assert {"ami-id", "instance-id", "network/", "placement/", "public-keys/"} <= set(listed)
    assert Guest().read("/latest/meta-data").splitlines() == listed


def test_the_identity_document_fits_the_rest() -> None:
    told = json.loads(Guest().read("/latest/dynamic/instance-identity/document"))
    assert told["instanceId"] == Guest().read("/latest/meta-data/instance-id")
    assert (told["region"], told["privateIp"]) == ("us-east-1", "10.42.0.17")


def test_ids_are_an_instances_own() -> None:
    other = Guest(replace(SUBJECT, spec=replace(SPEC, id="ins_2")))
    assert other.read("/latest/meta-data/instance-id") != Guest().read("/latest/meta-data/instance-id")


def test_without_user_data_and_keys_there_are_none() -> None:
    guest = Guest(replace(SUBJECT, spec=replace(SPEC, user_data="", ssh_keys=())))
    assert guest.ask("/latest/user-data").status == 404
    assert guest.ask("/latest/meta-data/public-keys/").status == 404
    assert "public-keys/" not in guest.read("/latest/meta-data/").splitlines()
    assert "user-data" not in guest.read("/latest/").splitlines()


def test_a_token_is_good_for_its_instance_and_its_time() -> None:
    now = [1000.0]
    guest = Guest(tokens=Tokens(lambda: now[0]))
    other = Guest(replace(SUBJECT, spec=replace(SPEC, id="ins_2")), guest.tokens)
    token = _token(guest, "60")
    now[0] += 10
    answer = guest.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token=token)
    assert (answer.status, answer.headers) == (200, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": "50"})
    assert guest.ask("/latest/nothing", x_aws_ec2_metadata_token=token).status == 404
    assert other.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token=token).status == 401
    assert guest.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token="").status == 401
    assert guest.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token=f"f{token}").status == 401
    now[0] += 50
    assert guest.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token=token).status == 401


@pytest.mark.parametrize("lifetime", ["", "0", "-1", "21601", "an hour"])
def test_a_lifetime_that_cannot_be_is_refused(lifetime: str) -> None:
    assert Guest().ask("/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds=lifetime).status == 400


def test_tokens_are_not_given_to_proxies_or_for_a_get() -> None:
    lifetime = {"x_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert Guest().ask("/latest/api/token", "PUT", x_forwarded_for="192.0.2.1", **lifetime).status == 403
    assert Guest().ask("/latest/api/token", **lifetime).status == 405
    assert Guest().ask("/latest/meta-data/mac", "PUT").status == 405


def test_a_token_of_another_form_is_none() -> None:
    guest = Guest()
    theirs = guest.ask("/v1/token", "PUT", metadata_token_expiry_seconds="60").body.decode()
    assert guest.ask("/latest/meta-data/mac", x_aws_ec2_metadata_token=theirs).status == 401


def test_a_zone_in_its_words_is_told() -> None:
    for region, told in (("eu-central-1b", "eu-central-1"), ("nyc3", "us-east-1"), ("us-east", "us-east-1")):
        guest = Guest(replace(SUBJECT, spec=replace(SPEC, region=region)))
        assert guest.read("/latest/meta-data/placement/region") == told


def test_the_plate_says_what_cloud_init_looks_for() -> None:
    told = plate(SPEC)
    assert (told.manufacturer, told.serial, told.uuid_prefix) == ("Amazon EC2", "", "ec2")

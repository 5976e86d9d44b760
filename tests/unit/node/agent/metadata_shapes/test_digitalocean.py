"""DigitalOcean's form of metadata."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from insula.domain.instance import Resources
from insula.node.agent.metadata_shapes.digitalocean import plate
from insula.node.agent.metadata_shapes.subject import subject_of
from insula.protocol.node import InstanceSpec

from .example import FURTHER_MAC, KEYS, MAC, SPACE, SPEC, SUBJECT, USER_DATA, Guest


def test_the_document_has_all_that_programs_need() -> None:
    answer = Guest().ask("/metadata/v1.json")
    told = json.loads(answer.body)
    assert answer.content_type == "application/json"
    assert (told["droplet_id"], told["hostname"], told["region"]) == (4711, "web1.example", "nyc3")
    assert (told["user_data"], told["public_keys"]) == (USER_DATA, list(KEYS))
    assert told["dns"] == {"nameservers": ["10.42.0.1", "fd00:1::1"]}
    assert told["tags"] == ["web", "env:test"]
    assert told["reserved_ip"] == {"ipv4": {"active": True, "ip_address": "203.0.113.5"}}


def test_cards_are_told_as_they_are_to_be_set_up() -> None:
    told = json.loads(Guest().ask("/metadata/v1.json").body)["interfaces"]
    assert told == {
        "public": [
            {
                "mac": MAC,
                "type": "public",
                "ipv4": {"ip_address": "10.42.0.17", "netmask": "255.255.0.0", "gateway": "10.42.0.1"},
                "ipv6": {"ip_address": "fd00:1::11", "cidr": 128, "gateway": "fe80::1"},
            }
        ],
        "private": [
            {
                "mac": FURTHER_MAC,
                "type": "private",
                "ipv4": {"ip_address": "10.43.0.18", "netmask": "255.255.255.0"},
                "ipv6": {"ip_address": "fd00:2::12", "cidr": 128},
            }
        ],
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("id", "4711"),
        ("hostname", "web1.example"),
        ("user-data", USER_DATA),
        ("vendor-data", ""),
        ("public-keys", "\n".join(KEYS)),
        ("region", "nyc3"),
        ("interfaces/", "public/\nprivate/"),
        ("interfaces/public/", "0/"),
        ("interfaces/public/0/mac", MAC),
        ("interfaces/public/0/ipv4/address", "10.42.0.17"),
        ("interfaces/private/0/ipv4/netmask", "255.255.255.0"),
        ("dns/nameservers", "10.42.0.1\nfd00:1::1"),
        ("floating_ip/ipv4/active", "true"),
        ("reserved_ip/ipv4/address", "203.0.113.5"),
        ("tags/", "web\nenv:test"),
        ("features/dhcp_enabled", "true"),
    ],
)
def test_each_part_is_a_file(path: str, text: str) -> None:
    assert Guest().read(f"/metadata/v1/{path}") == text


def test_folders_are_listed_with_and_without_a_slash() -> None:
    listed = Guest().read("/metadata/v1/").splitlines()
    assert listed[:3] == ["id", "hostname", "user-data"]
    assert {"interfaces/", "dns/", "tags/", "features/"} <= set(listed)
    assert Guest().read("/metadata/v1").splitlines() == listed


def test_what_is_not_there_is_not_made_up() -> None:
    bare = InstanceSpec("ins_9", "default", "bare", "bare", "imported", Resources(1, 64, 1, 100), number=9)
    guest = Guest(subject_of(bare, None))
    told = json.loads(guest.ask("/metadata/v1.json").body)
    assert (told["interfaces"], told["dns"]) == ({}, {"nameservers": []})
    assert told["reserved_ip"] == {"ipv4": {"active": False}}
    assert "user_data" not in told
    unnumbered = Guest(replace(guest.subject, spec=replace(bare, number=0)))
    assert "droplet_id" not in unnumbered.read("/metadata/v1.json")
    assert unnumbered.ask("/metadata/v1/id").status == 404
    assert guest.ask("/metadata/v1/interfaces/public/0/mac").status == 404
    assert guest.ask("/metadata/v2/id").status == 404
    assert Guest().ask("/metadata/v1/id/").status == 404
    assert Guest().ask("/metadata/v1/id", "PUT").status == 405


def test_a_region_in_its_words_is_told() -> None:
    for region, told in (("fra1", "fra1"), ("us-east-1a", "nyc3")):
        guest = Guest(replace(SUBJECT, spec=replace(SPEC, region=region)))
        assert guest.read("/metadata/v1/region") == told


def test_an_instance_is_told_of_its_own_cards_only() -> None:
    other = replace(SPEC, id="ins_2", nics=(replace(SPEC.nics[0], port_id="prt_3"),))
    told = Guest(subject_of(other, SPACE)).read("/metadata/v1.json")
    assert "203.0.113.7" in told
    assert not any(text in told for text in (MAC, "203.0.113.5", "10.43.0.18", "env:test"))


def test_the_plate_says_what_cloud_init_looks_for() -> None:
    assert (plate(SPEC).manufacturer, plate(SPEC).serial) == ("DigitalOcean", "4711")

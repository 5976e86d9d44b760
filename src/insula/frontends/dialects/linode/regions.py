"""Regions: all of theirs are this host, so that whatever a configuration names exists."""

from __future__ import annotations

from typing import Any

from insula.base.errors import InvalidInput
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.linode.dialect import DIALECT, page
from insula.frontends.dialects.linode.types import TYPES
from insula.frontends.dialects.records import unknown

DEFAULT = "us-east"
UNKNOWN = "region is not valid"
VPC_PREFIX = 52  # of the range of IPv6 that a VPC has
_CAPABILITIES = ["Linodes", "Backups", "Block Storage", "Cloud Firewall", "Metadata", "VPCs", "VPC IPv6 Stack"]
_NAMES = {
    "us-east": ("us", "Newark, NJ"),
    "us-central": ("us", "Dallas, TX"),
    "us-west": ("us", "Fremont, CA"),
    "us-southeast": ("us", "Atlanta, GA"),
    "us-iad": ("us", "Washington, DC"),
    "us-ord": ("us", "Chicago, IL"),
    "us-sea": ("us", "Seattle, WA"),
    "us-mia": ("us", "Miami, FL"),
    "us-lax": ("us", "Los Angeles, CA"),
    "ca-central": ("ca", "Toronto, CA"),
    "eu-west": ("gb", "London, UK"),
    "eu-central": ("de", "Frankfurt, DE"),
    "fr-par": ("fr", "Paris, FR"),
    "nl-ams": ("nl", "Amsterdam, NL"),
    "se-sto": ("se", "Stockholm, SE"),
    "es-mad": ("es", "Madrid, ES"),
    "it-mil": ("it", "Milan, IT"),
    "br-gru": ("br", "Sao Paulo, BR"),
    "in-maa": ("in", "Chennai, IN"),
    "ap-west": ("in", "Mumbai, IN"),
    "ap-south": ("sg", "Singapore, SG"),
    "ap-northeast": ("jp", "Tokyo 2, JP"),
    "jp-osa": ("jp", "Osaka, JP"),
    "ap-southeast": ("au", "Sydney, AU"),
    "id-cgk": ("id", "Jakarta, ID"),
}


def is_there(name: str) -> bool:
    return name in _NAMES


def check(name: str) -> str:
    """The region that was asked for, or the default. Raises InvalidInput."""
    if name and not is_there(name):
        raise InvalidInput(
            UNKNOWN,
            why=f"There are {', '.join(_NAMES)}",
            todo="Choose one of them",
            fields={"region": UNKNOWN},
        )
    return name or DEFAULT


def _view(name: str) -> dict[str, Any]:
    country, label = _NAMES[name]
    return {
        "id": name,
        "label": label,
        "country": country,
        "capabilities": _CAPABILITIES,
        "monitors": {"alerts": [], "metrics": []},
        "placement_group_limits": {
            "maximum_pgs_per_customer": 0,
            "maximum_linodes_per_pg": 0,
            "maximum_linodes_per_flexible_pg": 0,
        },
        "resolvers": {"ipv4": "", "ipv6": ""},
        "site_type": "core",
        "status": "ok",
    }


def _find(ask: Ask) -> str:
    name = ask.path["region"]
    if name not in _NAMES:
        raise unknown("region", name)
    return name


def _availability(name: str) -> list[dict[str, Any]]:
    return [{"region": name, "plan": slug, "available": True} for slug in TYPES.slugs]


@DIALECT.operation("GET", "/regions", "regions.list")
async def list_regions(ask: Ask) -> Answer:
    return page(ask, [_view(name) for name in _NAMES])


@DIALECT.operation("GET", "/regions/{region}", "regions.view")
async def get_region(ask: Ask) -> Answer:
    return Answer(_view(_find(ask)))


@DIALECT.operation("GET", "/regions/availability", "regions.list-avail")
async def list_availability(ask: Ask) -> Answer:
    return page(ask, [one for name in _NAMES for one in _availability(name)])


@DIALECT.operation("GET", "/regions/{region}/availability", "regions.view-avail")
async def get_availability(ask: Ask) -> Answer:
    return Answer(_availability(_find(ask)))


def _vpcs(name: str) -> dict[str, Any]:
    return {"region": name, "available": True, "available_ipv6_prefix_lengths": [VPC_PREFIX]}


@DIALECT.operation("GET", "/regions/vpc-availability", "regions.list-vpc-avail")
async def list_vpc_availability(ask: Ask) -> Answer:
    return page(ask, [_vpcs(name) for name in _NAMES])


@DIALECT.operation("GET", "/regions/{region}/vpc-availability", "regions.view-vpc-avail")
async def get_vpc_availability(ask: Ask) -> Answer:
    return Answer(_vpcs(_find(ask)))


def _account_view(name: str) -> dict[str, Any]:
    return {"region": name, "available": _CAPABILITIES, "unavailable": []}


@DIALECT.operation("GET", "/account/availability", "account.get-availability")
async def list_account_availability(ask: Ask) -> Answer:
    return page(ask, [_account_view(name) for name in _NAMES])


@DIALECT.operation("GET", "/account/availability/{region}", "account.get-account-availability")
async def get_account_availability(ask: Ask) -> Answer:
    return Answer(_account_view(_find(ask)))

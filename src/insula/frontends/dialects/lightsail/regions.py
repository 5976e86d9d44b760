"""Regions and zones: all of theirs are this host, so that whatever a configuration names exists."""

from __future__ import annotations

from typing import Any

from insula.base.errors import InvalidInput
from insula.frontends.dialects.dialect import Answer, Ask
from insula.frontends.dialects.lightsail.dialect import New, answer, operation
from insula.frontends.dialects.lightsail.signature import region_of

DEFAULT = "us-east-1"
EVERYWHERE = "all"  # the zone of what is in no zone
_ZONES = "abcdef"
# By the name: where it is, which part of the world that is, and its continent.
_REGIONS = {
    "us-east-1": ("Virginia", "the eastern United States", "NA"),
    "us-east-2": ("Ohio", "the eastern United States", "NA"),
    "us-west-2": ("Oregon", "the western United States", "NA"),
    "ca-central-1": ("Montreal", "Canada", "NA"),
    "eu-west-1": ("Ireland", "Europe", "EU"),
    "eu-west-2": ("London", "Europe", "EU"),
    "eu-west-3": ("Paris", "Europe", "EU"),
    "eu-central-1": ("Frankfurt", "Europe", "EU"),
    "eu-north-1": ("Stockholm", "Europe", "EU"),
    "ap-south-1": ("Mumbai", "Asia", "AS"),
    "ap-southeast-1": ("Singapore", "Asia", "AS"),
    "ap-southeast-2": ("Sydney", "Australia", "OC"),
    "ap-northeast-1": ("Tokyo", "Asia", "AS"),
    "ap-northeast-2": ("Seoul", "Asia", "AS"),
}
NAMES = tuple(_REGIONS)
HOSTS = tuple(f"lightsail.{name}.amazonaws.com" for name in NAMES)


def check_zone(zone: str) -> str:
    """Raises InvalidInput for one that is not there."""
    if zone[:-1] not in _REGIONS or zone[-1:] not in _ZONES:
        raise InvalidInput(
            f"The availability zone {zone[:40]!r} does not exist",
            why=f"Regions are {', '.join(_REGIONS)}, and each has the zones {', '.join(_ZONES)}",
            todo="Name one like us-east-1a",
            fields={"availabilityZone": "unknown"},
        )
    return zone


def asked(ask: Ask) -> str:
    """The region that a request was sent to."""
    found = region_of(ask.headers, ask.query)
    return found if found in _REGIONS else DEFAULT


def in_zone(zone: str) -> dict[str, str]:
    """The location of what is in a zone; empty is the default."""
    known = zone or f"{DEFAULT}a"
    return {"availabilityZone": known, "regionName": known[:-1]}


def in_region(region: str) -> dict[str, str]:
    """The location of what is in no zone."""
    return {"availabilityZone": EVERYWHERE, "regionName": region or DEFAULT}


class _Wish(New):
    include_availability_zones: bool = False
    include_relational_database_availability_zones: bool = False


def _view(name: str, *, with_zones: bool) -> dict[str, Any]:
    place, part, continent = _REGIONS[name]
    zones = [{"zoneName": f"{name}{letter}", "state": "available"} for letter in _ZONES]
    return {
        "continentCode": continent,
        "description": f"This region is recommended to serve users in {part}",
        "displayName": place,
        "name": name,
        "availabilityZones": zones if with_zones else [],
        "relationalDatabaseAvailabilityZones": [],
    }


@operation("GetRegions")
async def get_regions(ask: Ask) -> Answer:
    wish = ask.read(_Wish)
    return answer(regions=[_view(name, with_zones=wish.include_availability_zones) for name in NAMES])
